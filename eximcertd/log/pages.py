"""A plain file's pages looked at in place, a window at a time: a third cheaper than copying them into a buffer.

Whoever reads a mapped file that somebody truncates is killed by the kernel (SIGBUS). So a file is mapped only
under a read lease (fcntl(2), F_SETLEASE): as long as it is held, an open for writing or a truncation waits for
us, and a signal tells us to let go. A file that somebody has open for writing, or that is not ours, gives no
lease, and is read the other way.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import signal
from typing import TYPE_CHECKING, Final, Self

from eximcertd.log.search import LONGEST, memmem

if TYPE_CHECKING:
    from types import FrameType

WINDOW: Final = 4 << 20
_PAGE: Final = mmap.PAGESIZE
_BEFORE: Final = 256
"""Bytes before the literal in which the line must begin; the longest prefix that Exim writes has 70."""
_FAILED: Final = ctypes.c_void_p(-1).value


class Pages:
    """A window on a file: a Text. fd: stays the caller's. Made by ``lease``; to be closed.

    broken: somebody waits to write to the file: stop soon, and close.
    """

    def __init__(self, fd: int, literal: bytes) -> None:
        self._fd = fd
        self._literal = literal
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = self._libc.memrchr.restype = self._libc.memchr.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
        self._libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        self._libc.memrchr.argtypes = self._libc.memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
        self._address = 0
        self._length = 0
        self.broken = False
        self._former = signal.signal(signal.SIGIO, self._break)

    def __enter__(self) -> Self:
        """Use it in a ``with``."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the pages and the file go."""
        self._unmap()
        fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        self.close()

    def close(self) -> None:
        """Let the signal go."""
        signal.signal(signal.SIGIO, self._former)

    def _break(self, _: int, __: FrameType | None) -> None:
        self.broken = True

    def show(self, offset: int, size: int) -> tuple[int, int]:
        """Show the file from ``offset`` on, at most a window of it; return where that begins and ends in the window.

        Raises OSError.
        """
        self._unmap()
        start = offset - offset % _PAGE
        length = min(WINDOW, size - start)
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        address = self._libc.mmap(None, length, mmap.PROT_READ, flags, self._fd, start)
        if address in {None, _FAILED}:
            raise OSError(ctypes.get_errno(), "cannot be mapped")
        self._address, self._length = address, length
        return offset - start, length

    def find(self, start: int, end: int) -> int:
        """See Text."""
        return self.find_mark(self._literal, start, end)

    def find_mark(self, mark: bytes, start: int, end: int) -> int:
        """See Text."""
        assert memmem is not None  # noqa: S101 - lease makes no pages without it
        found = memmem(self._address + start, end - start, mark, len(mark))
        return -1 if found is None else found - self._address

    def lines(self, start: int, end: int) -> int:
        """Return the offset behind the last newline in [start, end), or start if there is none."""
        found = self._libc.memrchr(self._address + start, 10, end - start)
        return start if found is None else int(found) - self._address + 1

    def entry(self, inside: int, start: int, end: int) -> tuple[bytes, int]:
        """See Text."""
        found = self._libc.memchr(self._address + inside, 10, end - inside)
        newline = end if found is None else int(found) - self._address
        low = max(start, inside - _BEFORE)
        piece = ctypes.string_at(self._address + low, min(newline, inside + LONGEST) - low)
        return piece[piece.rfind(b"\n", 0, inside - low) + 1 :], newline

    def piece(self, start: int, end: int) -> bytes:
        """Return the bytes in [start, end)."""
        return ctypes.string_at(self._address + start, end - start)

    def _unmap(self) -> None:
        if self._address:
            self._libc.munmap(self._address, self._length)
            self._address = 0


def lease(fd: int, literal: bytes) -> Pages | None:
    """Return pages of an open plain file, or None where it must be read the other way."""
    if memmem is None:
        return None
    try:
        pages = Pages(fd, literal)
    except (ValueError, AttributeError):  # not in the main thread, or no such functions here
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        pages.close()
        return None
    return pages
