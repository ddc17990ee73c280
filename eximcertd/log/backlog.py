"""Old logs, read from end to end for ``eximcertctl scan``: what is not counted yet, in portions.

Light to import: the start is a good part of what a scan costs.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from eximcertd.errors import EximcertdError
from eximcertd.log.cursor import TAIL_LENGTH, FileCursor
from eximcertd.log.directory import open_regular
from eximcertd.log.reader import END, Reader, plain_covered
from eximcertd.log.unpack import Plain, UnpackError, kind, text

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from datetime import tzinfo

    from eximcertd.log.line import Grammar
    from eximcertd.log.sighting import Sighting
    from eximcertd.log.unpack import Text

T = TypeVar("T")
MOST_FINGERPRINTS: Final = 300
"""A portion that has so many fingerprints is handed over."""

MOST_IN_PORTION: Final = 1000
"""Maximum number of fingerprints in one portion, so that it fits into a call of the control socket."""


LENGTH: Final = 1 << 20
"""Bytes of a piece; larger ones than those of the daemon save a fifth of the time."""


class Portion(NamedTuple):
    """A part of a file that was read.

    read, size: bytes of the file as it lies there, for a progress bar. sightings: what was found since the last
    portion, perhaps nothing. cursor: how far the file was counted with this portion; None: nothing new to keep.
    """

    read: int
    size: int
    sightings: tuple[Sighting, ...] = ()
    cursor: FileCursor | None = None


class Backlog:
    """Reads files one after the other. zone: Exim's, of times that name none."""

    def __init__(self, grammar: Grammar, zone: tzinfo) -> None:
        self._reader = Reader(grammar, zone, LENGTH, MOST_IN_PORTION)

    def read(self, path: str, known: Iterable[FileCursor]) -> Iterator[Portion]:
        """Read what ``known`` does not cover of a file, plain or packed.

        Raises EximcertdError: it cannot be read, or not to its end.
        """
        try:
            fd, status = open_regular(path)
        except OSError as error:
            raise EximcertdError(f"{path}: cannot be read: {error.strerror}") from error
        cursor = FileCursor(scanned=True, mtime=status.st_mtime_ns, name=path)
        try:
            yield from self._read(cursor, fd, status.st_size, known)
        except OSError as error:
            raise EximcertdError(f"{path}: cannot be read on: {error.strerror}") from error
        except UnpackError:
            yield self._portion(cursor, status.st_size, status.st_size)
            raise
        finally:
            self._reader.take()
            os.close(fd)

    def _read(self, cursor: FileCursor, fd: int, size: int, known: Iterable[FileCursor]) -> Iterator[Portion]:
        plain, source = kind(fd) is None, text(fd, cursor.name)
        head = self._reader.head(source)
        candidates = [one for one in known if one.begins(head)]
        source, at, tail = text(fd, cursor.name), 0, b""
        if plain:
            covered = plain_covered(fd, size, candidates)
        else:
            covered, at, tail = yield from _portions(self._reader.covered(source, candidates), source, size)
        for start, end in _uncovered(covered):
            if plain:
                if start >= size:
                    return
                source, at = Plain(fd, start), start
                tail = os.pread(fd, min(TAIL_LENGTH, start), max(0, start - TAIL_LENGTH))
            elif start < at:
                source, at, tail = text(fd, cursor.name), 0, b""
            at, tail = yield from _portions(self._reader.skip(source, at, start, tail), source, size)
            if at < start:
                return
            cursor.skip_to(start, head, tail)
            for _ in self._reader.read_text(cursor, source, end):
                yield self._portion(cursor, source.offset, size, least=MOST_FINGERPRINTS)
            yield self._portion(cursor, source.offset, size)
            at, tail = cursor.end, cursor.text_tail

    def _portion(self, cursor: FileCursor, read: int, size: int, *, least: int = 1) -> Portion:
        found = self._reader.take() if len(self._reader) >= least else ()
        return Portion(read, size, found, cursor if found else None)


def _portions(pieces: Generator[int, None, T], source: Text, size: int) -> Generator[Portion, None, T]:
    """Yield a portion for each piece that is passed over; return what the pieces return."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # what the generator's type says
        yield Portion(source.offset, size)


def _uncovered(cursors: Iterable[FileCursor]) -> list[tuple[int, int]]:
    """Return what none of the cursors covers; a live one covers all that is to come."""
    covered = sorted((cursor.start, END if cursor.live else cursor.end) for cursor in cursors)
    gaps, at = [], 0
    for start, end in chain(covered, [(END, END)]):
        if start > at:
            gaps.append((at, start))
        at = max(at, end)
    return gaps
