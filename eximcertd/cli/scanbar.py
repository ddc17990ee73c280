"""The progress bar of eximcertctl scan."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from eximcertd.text import shown

if TYPE_CHECKING:
    from typing import TextIO

_REDRAW: Final = 0.1


class Bar:
    """A progress bar on a terminal; nothing anywhere else. total: bytes of all files."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._seen = stream.isatty()
        self._begun = time.monotonic()
        self._drawn = 0.0
        self._path = ""
        self._before = self._done = self._length = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the bar."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def show(self, path: str, done: int, size: int) -> None:
        """Tell how far a file is read, in bytes of the file as it lies there."""
        if not self._seen:
            return
        if path != self._path:
            self._before += self._length
            self._path = path
        self._done, self._length = self._before + min(done, size), size
        now = time.monotonic()
        if now - self._drawn >= _REDRAW:
            self._drawn = now
            self._stream.write("\r" + self._line(now - self._begun) + "\x1b[K")
            self._stream.flush()

    def _line(self, seconds: float) -> str:
        total = max(self._total, self._done, 1)
        share = self._done / total
        rate = self._done / max(seconds, 1e-3)
        left = round((total - self._done) / max(rate, 1))
        filled = round(20 * share)
        name = shown(self._path.rpartition("/")[2], 20)
        return (
            f"{name} [{'#' * filled}{' ' * (20 - filled)}] {share:4.0%} {_bytes(self._done)} of {_bytes(total)}, "
            f"{_bytes(rate)}/s, {left // 60}:{left % 60:02} left"
        )


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:  # noqa: PLR2004 - the step between the units
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
