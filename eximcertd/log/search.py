"""Finding the lines that matter: one reused buffer, a search for the literal, the regex on what it found.

One allocation per read makes reading a big log four times slower, so text is read into one buffer that is
made once. glibc's memmem is about a third faster than bytearray.find on a literal this long; where there
is none, find does it.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BUFFER_LENGTH: Final = 256 * 1024


class Buffer:
    """A reused buffer and the search for one literal in it.

    view: to be read into. Not for use by two threads at once.
    """

    def __init__(self, literal: bytes, length: int = BUFFER_LENGTH) -> None:
        self.bytes: Final = bytearray(length)
        self.view: Final = memoryview(self.bytes)
        self.literal: Final = literal
        self._memmem = _memmem()
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))

    def __len__(self) -> int:
        return len(self.bytes)

    def find(self, start: int, end: int) -> int:
        """Return where the literal begins first in [start, end), or -1."""
        if self._memmem is None:
            return self.bytes.find(self.literal, start, end)
        found = self._memmem(self._address + start, end - start, self.literal, len(self.literal))
        return -1 if found is None else int(found) - self._address

    def lines(self, start: int, end: int) -> int:
        """Return the offset behind the last newline in [start, end), or start if there is none."""
        return max(start, self.bytes.rfind(b"\n", start, end) + 1)

    def line_at(self, inside: int, start: int, end: int) -> tuple[int, int]:
        """Return the line around the offset ``inside`` of whole lines [start, end): where it begins and ends."""
        begin = self.bytes.rfind(b"\n", start, inside) + 1
        newline = self.bytes.find(b"\n", inside, end)
        return max(begin, start), end if newline < 0 else newline


def _memmem() -> Callable[[int, int, bytes, int], int | None] | None:
    try:
        function = ctypes.CDLL(None).memmem
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_void_p
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    return function
