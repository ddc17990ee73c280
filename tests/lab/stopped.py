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


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """Hold one thread still for the length of a block; the other threads of its process go on.

    A SIGKILL for the process ends the thread all the same. Enter and leave in the same thread of the tests.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def ptrace(request: int) -> None:
        if libc.ptrace(request, thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace of thread {thread}")

    ptrace(_SEIZE)
    ptrace(_INTERRUPT)
    os.waitpid(thread, _WALL)
    try:
        yield
    finally:
        try:
            ptrace(_DETACH)
        except OSError:
            os.waitpid(thread, _WALL)  # it is gone: take notice, or it stays as a zombie


def reading_thread(process: int, log: Path, limit: float = 20.0) -> int:
    """Find the thread that reads a log, by appending lines to it and looking who reads so much (proc(5), io)."""
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
            if much - before.get(thread, 0) >= size // 125 * 125:
                return thread
        time.sleep(0.01)
    raise AssertionError(f"no thread of process {process} has read {log}")
