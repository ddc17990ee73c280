"""eximcertctl on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

from lab.daemon import program

if TYPE_CHECKING:
    from lab.twins import Twin


def on_a_terminal(twin: Twin, *arguments: str, width: int = 80, answer: bytes = b"", **environment: str) -> str:
    """Run eximcertctl on a terminal of its own and return what stands there. answer: the keys that are pressed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, width, 0, 0))
    with subprocess.Popen(
        [program("eximcertctl"), "--socket", str(twin.path), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], "TZ": "UTC", "LC_ALL": "C.UTF-8", "TERM": "xterm", **environment},
    ):
        os.close(theirs)
        os.write(ours, answer)
        raw = b""
        try:
            while portion := os.read(ours, 1 << 16):
                raw += portion
        except OSError:
            pass  # Linux says EIO at the end of a terminal's output
        os.close(ours)
    return raw.decode().replace("\r\n", "\n")
