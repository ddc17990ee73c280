"""Reading files through one buffer into one aggregator, for following a log and for scanning old ones."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from eximcertd.log.aggregator import CERTIFICATE_WITHIN, Aggregator
from eximcertd.log.buffer import BUFFER_LENGTH, Buffer
from eximcertd.log.cursor import HEAD_LENGTH, TAIL_LENGTH, FileCursor
from eximcertd.log.unpack import Plain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from datetime import tzinfo

    from eximcertd.log.line import Grammar
    from eximcertd.log.sighting import Sighting
    from eximcertd.log.unpack import Text

END: Final = 1 << 62
"""An offset after the end of every file."""
_MOST_REGIONS: Final = 64
_MOST_AHEAD: Final = 64


class Reader:
    """Not for use by two threads. zone: Exim's. length: of a piece, in bytes. most: fingerprints a piece of a text.

    uses: whether all lines, and those of accepted recipients, are counted too. lines: their number.
    """

    def __init__(
        self, grammar: Grammar, zone: tzinfo, length: int = BUFFER_LENGTH, most: int = 1 << 30, *, uses: bool = False
    ) -> None:
        self._buffer = Buffer(grammar.literal, length)
        self._aggregator = Aggregator(grammar, zone, most)
        self._uses = uses
        self.lines = 0

    def __len__(self) -> int:
        """Return for how many fingerprints something was found since ``take``."""
        return len(self._aggregator)

    def take(self) -> tuple[Sighting, ...]:
        """Return what was found since the last call."""
        return self._aggregator.take()

    def read(self, cursor: FileCursor, *, now: bool) -> int | None:
        """Read on in a held plain file, at most a buffer's length; return how many bytes were consumed.

        now: lines without a time are of now, else of the file's last change. None: the file's content was
        replaced. Raises OSError.
        """
        piece = cursor.read(self._buffer)
        if piece is None:
            return None
        begin, have = piece
        return self._take(cursor, begin, have, datetime.now(UTC) if now else changed_at(cursor.mtime))

    def read_ahead(self, cursor: FileCursor, wanted: Callable[[str], bool]) -> Iterator[int]:
        """Count the attempts of some fingerprints in the unread part of a held plain file, before all others.

        Yield the bytes of each piece; the cursor records what must not be counted again. Raises OSError.
        """
        start = cursor.ahead[-1][0] if cursor.ahead else cursor.end
        if cursor.middle or len(cursor.ahead) >= _MOST_REGIONS:
            return
        decided: dict[str, bool] = {}  # a certificate may come meanwhile: in a piece one counts always or never

        def note(fingerprint: str) -> bool:
            return decided.setdefault(fingerprint, wanted(fingerprint))

        ahead = FileCursor(end=start, mtime=cursor.mtime)
        for consumed in self.read_text(ahead, Plain(cursor.fd, start), wanted=note):
            counted = sorted(fingerprint for fingerprint, yes in decided.items() if yes)
            if consumed and not ahead.middle:
                cursor.look_ahead(ahead.end, counted)
            yield consumed
            if ahead.middle or len(cursor.ahead) >= _MOST_REGIONS or len(counted) > _MOST_AHEAD:
                return
            decided.clear()

    def read_text(
        self, cursor: FileCursor, text: Text, end: int = END, *, wanted: Callable[[str], bool] | None = None
    ) -> Iterator[int]:
        """Read a text from ``cursor.end``, its present offset, up to ``end``; yield how many bytes each piece consumed.

        wanted: tells which fingerprints count. The buffer may be used for something else between two pieces.
        Raises UnpackError, OSError.
        """
        held, begin, otherwise = b"", 0, changed_at(cursor.mtime)  # what is left of a piece, and before it
        full = False  # then the rest of the piece comes first
        while full or cursor.end + len(held) - begin < end:
            self._buffer.view[: len(held)] = held
            room = self._buffer.view[len(held) : min(len(self._buffer), begin + end - cursor.end)]
            got = 0 if full else text.readinto(room)
            if not (got or full):
                return
            have = len(held) + got
            consumed = self._take(cursor, begin, have, otherwise, wanted)
            kept = max(0, begin + consumed - CERTIFICATE_WITHIN)
            held, begin, full = bytes(self._buffer.view[kept:have]), begin + consumed - kept, self._aggregator.full
            yield consumed

    def head(self, text: Text) -> bytes:
        """Return the beginning of a text. Raises UnpackError, OSError."""
        return bytes(self._buffer.view[: text.readinto(self._buffer.view[:HEAD_LENGTH])])

    def skip(self, text: Text, at: int, end: int, tail: bytes = b"") -> Generator[int, None, tuple[int, bytes]]:
        """Skip a text from ``at``, its present offset, up to ``end``; yield the bytes of each piece.

        Return the new offset, and the bytes before it (``tail`` before ``at``). Raises UnpackError, OSError.
        """
        while at < end and (got := text.readinto(self._buffer.view[: min(len(self._buffer), end - at)])):
            tail = (tail + self._buffer.bytes[max(0, got - TAIL_LENGTH) : got])[-TAIL_LENGTH:]
            at += got
            yield got
        return at, tail

    def covered(
        self, text: Text, candidates: Iterable[FileCursor]
    ) -> Generator[int, None, tuple[list[FileCursor], int, bytes]]:
        """Find out which of the files that begin like a text it is a copy of, all of it or as far as it goes.

        Yield as ``skip`` does. Return them, by ascending end, and what ``skip`` returns.
        """
        at, tail, found = 0, b"", []
        for cursor in sorted(candidates, key=lambda cursor: cursor.end):
            at, tail = yield from self.skip(text, at, cursor.end, tail)
            if cursor.ends(tail) if at == cursor.end else cursor.head_length == HEAD_LENGTH:
                found.append(cursor)
        return found, at, tail

    def _take(
        self,
        cursor: FileCursor,
        begin: int,
        have: int,
        otherwise: datetime,
        wanted: Callable[[str], bool] | None = None,
    ) -> int:
        uses = self._uses and wanted is None  # what is read ahead is read once more
        if cursor.ahead:
            end, counted = cursor.ahead[0]
            have, wanted = min(have, begin + end - cursor.end), lambda fingerprint: fingerprint not in counted
        low, high = cursor.whole_lines(self._buffer, begin, have)
        if high > low:
            # the buffer begins in the middle of a line, or with the file
            before = 0 if cursor.end == begin else self._buffer.bytes.find(b"\n", 0, begin) + 1 or low
            high = self._aggregator.read(
                self._buffer, low, high, otherwise, cursor.waiting, before=before, wanted=wanted
            )
            if uses:
                self._aggregator.count_uses(self._buffer, low, high, otherwise)
                self.lines += self._buffer.bytes.count(b"\n", low, high)
        cursor.advance(self._buffer, begin, high)
        return high - begin


def changed_at(mtime: int) -> datetime:
    """Return a file's time of change (ns), which is the time of lines that tell none."""
    return datetime.fromtimestamp(mtime / 1e9, UTC)


def plain_covered(fd: int, size: int, candidates: Iterable[FileCursor]) -> list[FileCursor]:
    """Return what ``Reader.covered`` does of a plain file, which need not be read for it. Raises OSError."""
    found = []
    for cursor in candidates:
        if size < cursor.end:
            matches = cursor.head_length == HEAD_LENGTH
        else:
            matches = cursor.ends(os.pread(fd, cursor.tail_length, cursor.end - cursor.tail_length))
        if matches:
            found.append(cursor)
    return found
