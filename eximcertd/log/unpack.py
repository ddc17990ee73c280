"""Old logs as rotation left them: plain, or packed by gzip, xz, bzip2 or zstd, told by their first bytes.

The owner of Exim's log directory chooses its files, so the ratio, the time and the memory of unpacking are bounded.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from eximcertd.errors import EximcertdError

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_RATIO: Final = 2000
"""gzip cannot reach more than 1,032; the most monotonous log that xz was tried on reached some hundreds."""
FREE: Final = 16 << 20
"""Number of bytes that may be unpacked before the ratio is checked."""
LONGEST: Final = 600.0
"""Seconds of work that unpacking one file may take."""
_MEMORY: Final = 96 << 20
_PIECE: Final = 64 * 1024

_MAGIC: Final = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}


class UnpackError(EximcertdError):
    """A packed log cannot be read on: damaged, cut off, too much in it, or no library for it."""


class Text(Protocol):
    """The text of a log, from its beginning on. offset: bytes read of the file as it lies there."""

    offset: int

    def readinto(self, view: memoryview) -> int:
        """Fill the view as far as there is text and return how much; 0 at the end. Raises UnpackError, OSError."""


class Plain:
    """A plain file from an offset on. fd: stays the caller's."""

    def __init__(self, fd: int, offset: int = 0) -> None:
        self._fd = fd
        self.offset = offset

    def readinto(self, view: memoryview) -> int:
        """Read on."""
        length = os.preadv(self._fd, [view], self.offset)
        self.offset += length
        return length


class Packed:
    """A packed file from its beginning. fd: stays the caller's. name: for messages. Used through ``text``."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        self.offset = 0
        self._unpacked = 0
        self._seconds = 0.0

    def readinto(self, view: memoryview) -> int:
        """Unpack on."""
        begun = time.monotonic()
        filled = self.fill(view)
        self._seconds += time.monotonic() - begun
        self._unpacked += filled
        if self._unpacked > FREE and self._unpacked > LARGEST_RATIO * self.offset:
            raise UnpackError(
                f"{self.name}: unpacks to more than {LARGEST_RATIO} times its size: this is no log; not read further"
            )
        if self._seconds > LONGEST:
            raise UnpackError(f"{self.name}: not unpacked within {LONGEST:.0f} s: not read further")
        return filled

    def fill(self, view: memoryview) -> int:
        """Unpack on, without a bound."""
        raise NotImplementedError

    def raw(self, length: int = _PIECE) -> bytes:
        """Read on in the file."""
        piece = os.pread(self.fd, length, self.offset)
        self.offset += len(piece)
        return piece


class _Members(Packed):
    """Packed by what Python's own libraries read; several members may follow each other, as `cat a b` makes them."""

    def __init__(self, fd: int, name: str, make: Callable[[], Any]) -> None:
        super().__init__(fd, name)
        self._make = make
        self._inner: Any = make()
        self._raw = b""
        self._begun = False
        self._error: UnpackError | None = None

    def fill(self, view: memoryview) -> int:
        filled = 0
        while filled < len(view) and self._error is None:
            try:
                piece = self._next(len(view) - filled)
            except UnpackError as error:
                self._error = error
                break
            if piece is None:
                return filled
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        if self._error is not None and not filled:
            raise self._error
        return filled

    def _next(self, room: int) -> bytes | None:
        """Return at most ``room`` bytes of text, perhaps none yet; None at the end."""
        if self._inner.eof:
            self._raw = self._inner.unused_data.lstrip(b"\0")  # zero bytes are padding
            self._inner = self._make()
            self._begun = bool(self._raw)
        elif self._inner.needs_input:
            self._raw = self.raw()
            if not self._raw and self._begun:
                raise UnpackError(f"{self.name}: the file is cut off: what it holds up to there is read")
            if not self._raw:
                return None
            if not self._begun:
                self._raw = self._raw.lstrip(b"\0")
                self._begun = bool(self._raw)
        try:
            raw, self._raw = self._raw, b""
            return bytes(self._inner.decompress(raw, room))
        except Exception as error:  # three libraries, each with errors of its own
            raise UnpackError(f"{self.name}: damaged: {error}") from error


class _Zstd(Packed):
    """Packed by zstd."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd, name)
        try:
            import zstandard  # noqa: PLC0415 - an optional library
        except ImportError as error:
            raise UnpackError(
                f"{name}: packed by zstd, which needs the Python library zstandard",
                hint="Install python3-zstandard, or unpack the file with zstd -d and scan that.",
            ) from error
        self._error: type[Exception] = zstandard.ZstdError
        inner = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
        source: Any = _Source(self)  # all that is asked of it is read()
        self._reader = inner.stream_reader(source, read_across_frames=True)

    def fill(self, view: memoryview) -> int:
        try:
            return int(self._reader.readinto(view))
        except self._error as error:
            raise UnpackError(f"{self.name}: damaged: {error}") from error


class _Source:
    """What zstandard reads from."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed

    def read(self, length: int) -> bytes:
        return self._packed.raw(max(1, min(length, _PIECE)))


class _Gzip:
    """zlib's decompressor with the interface of the other two."""

    def __init__(self) -> None:
        import zlib  # noqa: PLC0415 - only who has such a file pays for it

        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail and not self._inner.eof

    def decompress(self, raw: bytes, room: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + raw, room)


def kind(fd: int) -> str | None:
    """Return what a file is packed by: "gzip", "xz", "bzip2", "zstd"; None: it is plain."""
    first = os.pread(fd, 8, 0)
    return next((name for magic, name in _MAGIC.items() if first.startswith(magic)), None)


def text(fd: int, name: str) -> Plain | Packed:
    """Return the text of an open regular file. name: for messages. Raises UnpackError without the library."""
    match kind(fd):
        case None:
            return Plain(fd)
        case "gzip":
            return _Members(fd, name, _Gzip)
        case "bzip2":
            import bz2  # noqa: PLC0415 - only who has such a file pays for it

            return _Members(fd, name, bz2.BZ2Decompressor)
        case "xz":
            import lzma  # noqa: PLC0415 - only who has such a file pays for it

            return _Members(fd, name, lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY))
        case _:
            return _Zstd(fd, name)
