"""Stopping one thread of another process from outside, as a debugger does (ptrace(2))."""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x4000_0000


class Stopped:
    """A thread that is held still."""

    def __init__(self, thread: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._thread = thread
        self._ended = False
        self._ptrace(_SEIZE)
        self._ptrace(_INTERRUPT)
        os.waitpid(thread, _WALL)

    def ended(self) -> bool:
        """Tell whether somebody has killed it. Only once this was asked can its process be gone for good."""
        if not self._ended:
            found, status = os.waitpid(self._thread, _WALL | os.WNOHANG)
            self._ended = found != 0 and (os.WIFSIGNALED(status) or os.WIFEXITED(status))
        return self._ended

    def let_go(self) -> None:
        """Let it go on, if it is still there."""
        if not self.ended():
            self._ptrace(_DETACH)

    def _ptrace(self, request: int) -> None:
        if self._libc.ptrace(request, self._thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace of thread {self._thread}")


@contextmanager
def stopped(thread: int) -> Iterator[Stopped]:
    """Hold one thread still for the length of a block; the other threads of its process go on.

    Enter and leave in the same thread of the tests.
    """
    held = Stopped(thread)
    try:
        yield held
    finally:
        held.let_go()


def reading_thread(process: int, log: Path, limit: float = 20.0) -> int:
    """Find the thread that reads a log, by appending lines to it and looking who reads so much (proc(5), io).

    Return once it waits for more: a thread that is stopped while it works may hold Python's lock, and all hang with it.
    """
    size = 1 << 20

    def read() -> dict[int, int]:
        found = {}
        for task in Path(f"/proc/{process}/task").iterdir():
            found[int(task.name)] = int((task / "io").read_text(encoding="ascii").split()[1])
        return found

    before = read()
    with log.open("ab", buffering=0) as stream:
        stream.write((b"2026-11-22 17:03:03 nothing to see here" + b"." * 85 + b"\n") * (size // 125))
    end = time.monotonic() + limit
    while time.monotonic() < end:
        for thread, much in read().items():
            if much - before.get(thread, 0) >= size // 125 * 125 and _waits(process, thread):
                return thread
        time.sleep(0.01)
    raise AssertionError(f"no thread of process {process} has read {log}")


def _waits(process: int, thread: int) -> bool:
    """Tell whether a thread has used no processor for a while (proc(5), schedstat)."""
    schedule = Path(f"/proc/{process}/task/{thread}/schedstat")
    before = schedule.read_text(encoding="ascii").split()[0]
    time.sleep(0.2)
    return schedule.read_text(encoding="ascii").split()[0] == before
