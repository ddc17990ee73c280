"""A command at a terminal, as a person sees it: 80 columns, questions answered as they come."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUESTION: Final = "[y/N]: "
_LINES: Final = 40
_COLUMNS: Final = 80
_LIMIT: Final = 120.0
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[78=>])")


def at_terminal(
    command: Sequence[str], answers: Sequence[str], environment: Mapping[str, str], *, styled: bool = False
) -> str:
    """Run a command and return what the terminal shows. answers: one for each question. styled: with colours.

    Raises AssertionError if it asks more than that, or does not end within two minutes.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    left, seen, end = list(answers), b"", time.monotonic() + _LIMIT
    try:
        while True:
            ended = process.poll() is not None
            if select.select([ours], [], [], 0.0 if ended else 0.05)[0]:
                try:
                    got = os.read(ours, 65536)
                except OSError:  # the last process with the terminal has ended
                    got = b""
                seen += got
                if got:
                    if seen.endswith(QUESTION.encode()):
                        assert left, f"it asks more than was to be answered:\n{_text(seen)}"
                        os.write(ours, left.pop(0).encode() + b"\n")
                    continue
                process.wait(10)
                ended = True
            if ended:
                return _text(seen, styled=styled)
            assert time.monotonic() < end, f"it does not end:\n{_text(seen)}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


def _text(seen: bytes, *, styled: bool = False) -> str:
    text = seen.decode("utf-8", "replace").replace("\r", "")
    return text if styled else _ESCAPES.sub("", text)
