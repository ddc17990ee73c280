"""eximcertctl, or a shell, on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Final

from lab.daemon import program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.twins import Twin


LIMIT: Final = 60.0


def on_a_terminal(
    twin: Twin, *arguments: str, width: int = 80, answers: Sequence[tuple[str, str]] = (), **environment: str
) -> str:
    """Run eximcertctl on a terminal of its own and return what it printed there.

    answers: the ends of questions, each with the keys that are pressed once the question is there.
    """
    return talk([program("eximcertctl"), "--socket", str(twin.path), *arguments], answers, width, **environment)


def talk(command: Sequence[str], answers: Sequence[tuple[str, str]], width: int = 80, **environment: str) -> str:
    """Run a program on a terminal of its own, and return what it printed there; answers: as for on_a_terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, width, 0, 0))
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], "TZ": "UTC", "LC_ALL": "C.UTF-8", "TERM": "xterm", **environment},
    ) as running:
        os.close(theirs)
        try:
            return _talk(ours, list(answers))
        except AssertionError:
            running.kill()
            raise
        finally:
            os.close(ours)


def _talk(terminal: int, answers: list[tuple[str, str]]) -> str:
    raw, answered, end = b"", 0, time.monotonic() + LIMIT
    while True:
        shown = raw.decode(errors="replace").replace("\r\n", "\n")
        if answers and shown[answered:].endswith(answers[0][0]) and _reads_keys(terminal, answers[0][1]):
            answered = len(shown)
            os.write(terminal, answers.pop(0)[1].encode())
        if time.monotonic() > end:
            raise AssertionError(f"it waits for more after:\n{shown}")
        if not select.select([terminal], [], [], 0.02)[0]:
            continue
        try:
            portion = os.read(terminal, 1 << 16)
        except OSError:  # Linux says EIO at the end of a terminal's output
            portion = b""
        if not portion:
            return shown
        raw += portion


def _reads_keys(terminal: int, keys: str) -> bool:
    """Tell whether the program has asked for keys without Enter, for which it throws away what was typed before."""
    canonical = bool(termios.tcgetattr(terminal)[3] & termios.ICANON)
    return canonical is keys.endswith("\n")
