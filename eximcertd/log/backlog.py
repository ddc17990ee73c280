"""Old logs, read from end to end for ``eximcertctl scan``: what no segment covers, in portions.

Light to import: the start is a good part of what a scan costs.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.errors import EximcertdError
from eximcertd.log.pages import lease
from eximcertd.log.search import Buffer
from eximcertd.log.segment import HEAD_LENGTH, TAIL_LENGTH, Segment, digest
from eximcertd.log.siblings import open_regular
from eximcertd.log.tally import Tally
from eximcertd.log.unpack import Packed, Plain, UnpackError, kind, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import tzinfo

    from eximcertd.log.line import Grammar
    from eximcertd.log.pages import Pages
    from eximcertd.log.source import Sighting

MOST_FINGERPRINTS: Final = 300
"""So many fingerprints go into one portion at most, for the control socket to take it."""
END: Final = 1 << 62


class Portion(NamedTuple):
    """A part of a file that was read.

    read, size: bytes of the file as it lies there, for a progress bar. sightings: what was found since the last
    portion, perhaps nothing. segment: what was counted of the file with this portion; None: nothing new to keep.
    """

    read: int
    size: int
    sightings: tuple[Sighting, ...] = ()
    segment: Segment | None = None


class Backlog:
    """Reads files one after the other. known: what was counted before; zone: of times that name none."""

    def __init__(self, grammar: Grammar, known: Sequence[Segment] = (), zone: tzinfo | None = None) -> None:
        self._literal = grammar.literal
        self._tally = Tally(grammar, zone)
        self._known = known
        self._buffer: Buffer | None = None

    def read(self, path: str) -> Iterator[Portion]:
        """Read one file, plain or packed. Raises EximcertdError: it cannot be read, or not to its end."""
        try:
            fd, status = open_regular(path)
        except OSError as error:
            raise EximcertdError(f"{path}: cannot be read: {error.strerror}") from error
        self._tally.forget_waiting()
        try:
            yield from _File(fd, status, path, self._tally).read(self._known, self._literal, self._span())
        except OSError as error:
            raise EximcertdError(f"{path}: cannot be read on: {error.strerror}") from error
        finally:
            self._tally.take()
            os.close(fd)

    def _span(self) -> Buffer:
        if self._buffer is None:
            self._buffer = Buffer(self._literal)
        return self._buffer


class _File:
    """One file on its way through a tally."""

    def __init__(self, fd: int, status: os.stat_result, name: str, tally: Tally) -> None:
        self.fd = fd
        self.size = status.st_size
        self.name = name
        self.otherwise = datetime.fromtimestamp(status.st_mtime, UTC)
        self.tally = tally
        self.head = b""
        self.tail = b""
        self.at = 0
        self.middle = False

    def read(self, known: Sequence[Segment], literal: bytes, buffer: Buffer) -> Iterator[Portion]:
        try:
            if kind(self.fd) is None:
                yield from self._read_plain(known, literal, buffer)
            else:
                yield from self._read_packed(known, buffer)
        except UnpackError:
            yield self._last(self.size)
            raise

    def _read_plain(self, known: Sequence[Segment], literal: bytes, buffer: Buffer) -> Iterator[Portion]:
        self.head = os.pread(self.fd, HEAD_LENGTH, 0)
        covered = [segment for segment in known if self._begins(segment) and self._ends(segment)]
        for start, end in _uncovered(covered):
            if start >= self.size:
                break
            self.at = start
            self.tail = os.pread(self.fd, min(TAIL_LENGTH, start), max(0, start - TAIL_LENGTH))
            pages = lease(self.fd, literal)
            if pages is not None:
                with pages:
                    yield from self._read_pages(pages, min(end, self.size))
            source = Plain(self.fd, self.at)
            yield from self._read_text(source, buffer, end)
            yield self._last(self.at)

    def _read_packed(self, known: Sequence[Segment], buffer: Buffer) -> Iterator[Portion]:
        source = text(self.fd, self.name)
        self.head = bytes(buffer.view[: source.readinto(buffer.view[:HEAD_LENGTH])])
        candidates = [segment for segment in known if self._begins(segment)]
        covered = self._verified(candidates, text(self.fd, self.name), buffer) if candidates else []
        source = text(self.fd, self.name)
        for start, end in _uncovered(covered):
            if not self._skip(source, buffer, start):
                break
            yield from self._read_text(source, buffer, end)
            yield self._last(source.offset)

    def _verified(self, candidates: list[Segment], source: Plain | Packed, buffer: Buffer) -> list[Segment]:
        """Return the segments before whose end the packed text is what they tell."""
        covered = []
        for segment in sorted(candidates, key=lambda segment: segment.end):
            if not self._skip(source, buffer, segment.end):
                covered += [segment] * (segment.head_length == HEAD_LENGTH)
            elif digest(self.tail[-segment.tail_length :]) == segment.tail:
                covered.append(segment)
        self.at, self.tail = 0, b""
        return covered

    def _skip(self, source: Plain | Packed, buffer: Buffer, end: int) -> bool:
        """Pass over the packed text up to ``end``; False: it is shorter."""
        while self.at < end:
            got = source.readinto(buffer.view[: min(len(buffer), end - self.at)])
            if not got:
                return False
            self.tail = (self.tail + buffer.bytes[max(0, got - TAIL_LENGTH) : got])[-TAIL_LENGTH:]
            self.at += got
        return True

    def _begins(self, segment: Segment) -> bool:
        length = segment.head_length
        return 0 < length <= len(self.head) and digest(self.head[:length]) == segment.head

    def _ends(self, segment: Segment) -> bool:
        """Tell whether a plain file is what the segment tells up to its end; or begins so and is a shorter copy."""
        if segment.end > self.size:
            return segment.head_length == HEAD_LENGTH
        tail = os.pread(self.fd, segment.tail_length, segment.end - segment.tail_length)
        return digest(tail) == segment.tail

    def _read_pages(self, pages: Pages, end: int) -> Iterator[Portion]:
        """Read up to ``end``, or until somebody wants to write to the file."""
        while self.at < end and not pages.broken:
            try:
                begin, have = pages.show(self.at, end)
            except OSError:
                return
            high = pages.lines(begin, have)
            if high == begin:
                return  # a huge entry or the last part of one: not worth more code here
            self.tally.read(pages, begin, high, self.otherwise)
            self.at += high - begin
            self.tail = pages.piece(max(0, high - TAIL_LENGTH), high)
            yield self._portion(self.at)

    def _read_text(self, source: Plain | Packed, buffer: Buffer, end: int) -> Iterator[Portion]:
        """Read up to ``end``, or to the end of the text."""
        kept = 0
        while self.at < end:
            got = source.readinto(buffer.view[kept : min(len(buffer), end - self.at)])
            if not got:
                break
            kept = self._take(buffer, kept + got)
            yield self._portion(source.offset)

    def _take(self, buffer: Buffer, have: int) -> int:
        """Count the whole lines among the first ``have`` bytes; return how many bytes were left at the front."""
        low = 0
        if self.middle:
            low = buffer.bytes.find(b"\n", 0, have) + 1
            self.middle = not low
        high = have if self.middle else buffer.lines(low, have)
        if not self.middle and high > low:
            self.tally.read(buffer, low, high, self.otherwise)
        elif have == len(buffer) and not low:
            self.middle, high = True, have
        self.tail = (self.tail + buffer.bytes[max(0, high - TAIL_LENGTH) : high])[-TAIL_LENGTH:]
        self.at += high
        buffer.view[: have - high] = buffer.bytes[high:have]
        return have - high

    def _portion(self, read: int) -> Portion:
        if len(self.tally) < MOST_FINGERPRINTS:
            return Portion(read, self.size)
        return self._last(read)

    def _last(self, read: int) -> Portion:
        found = self.tally.take()
        return Portion(read, self.size, found, self._segment() if found else None)

    def _segment(self) -> Segment:
        head = self.head[: self.at]
        return Segment(len(head), digest(head), 0, self.at, len(self.tail), digest(self.tail), scanned=True)


def _uncovered(segments: Iterable[Segment]) -> list[tuple[int, int]]:
    """Return what none of the segments covers; a live one covers all that is to come."""
    covered = sorted((segment.start, END if segment.live else segment.end) for segment in segments)
    gaps, at = [], 0
    for start, end in chain(covered, [(END, END)]):
        if start > at:
            gaps.append((at, start))
        at = max(at, end)
    return gaps
