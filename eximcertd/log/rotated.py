"""The rotated files of a log: which of them hold lines that were not counted yet, and their reading.

Reading is done by generators: each yields after every piece, so that the caller can read the log itself
in between, however much there is.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from eximcertd.log.cursor import FileCursor, stamp
from eximcertd.log.directory import Sibling, open_regular
from eximcertd.log.missing import MissingFiles
from eximcertd.log.unpack import UnpackError, kind, text
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from eximcertd.log.listing import LogListing
    from eximcertd.log.reader import Reader
    from eximcertd.log.registry import Registry
    from eximcertd.log.unpack import Text

_LATE_AT_FIRST: Final = 2
_MOST_LISTINGS: Final = 20


@dataclass(slots=True, order=True)
class _Unknown:
    """A file that no cursor knows, in the order of reading: the time stamp it begins with, whether it is packed."""

    first: str
    packed: bool
    mtime: int
    sibling: Sibling = field(compare=False)


@dataclass(slots=True)
class _Open:
    """An open regular file. kept: a cursor holds the descriptor from now on."""

    name: str
    fd: int
    status: os.stat_result
    kept: bool = False


class RotatedFiles:
    """What lies around the log. hold: seconds for which files are held open for late lines.

    first: this is the very first start: what is rotated was there before us. problems: what could not be read, a
    sentence each, by file.
    """

    def __init__(self, path: Path, listing: LogListing, registry: Registry, reader: Reader, hold: float) -> None:
        self._path = path
        self._listing = listing
        self._registry = registry
        self._reader = reader
        self._hold = hold
        self._examined: set[tuple[int, int, int, int]] = set()
        self._missing = MissingFiles(path, reader, lambda name: name == path.name or listing.is_sibling(name))
        if registry.last is not None:
            self._missing.add(registry.last)
        self.first = registry.path != str(path)
        self.problems: dict[str, str] = {}
        self._waiting = 0

    @property
    def lost(self) -> list[str]:
        """What could not be found any more, in the last day, a sentence each."""
        return self._missing.lost

    @property
    def behind(self) -> int:
        """How many bytes of files wait to be opened and read; of packed ones as they lie there."""
        return self._waiting

    def look_again(self, left: FileCursor | None = None) -> None:
        """Judge everything anew at the next look: a copy of what was read, or of what was left, may lie there now."""
        self._examined.clear()
        self._listing.forget()
        if left is not None:
            self._missing.add(left)

    def catch_up(self, log: Path) -> Generator[int, None, bool]:
        """Judge the files that changed and read what was not counted; return whether to look again.

        Yield the bytes of each piece. What is held open is to be read on at each yield: what was listed as a copy
        of it is known as one then.
        """
        dated = self._listing.dated
        for _ in range(_MOST_LISTINGS):
            siblings = self._listing.take(log)
            if not self.first:
                yield 0
            unknown = yield from self._examine_all(siblings)
            if unknown is not None and (not unknown or _names(siblings) == _names(self._listing.take(log))):
                break  # else a file that was renamed meanwhile may have been left out
        else:
            return True  # files are renamed faster than we can look: what is new cannot be told from what is old
        if self.first:
            self._exclude(unknown)
            self.first = False
            unknown.clear()
        for one in unknown:
            if not self._registry.is_new(one.first, one.mtime):
                self._examined.add(one.sibling.version)
        waiting = sorted(one for one in unknown if one.sibling.version not in self._examined)
        for number, one in enumerate(waiting):
            self._waiting = sum(later.sibling.size for later in waiting[number if one.packed else number + 1 :])
            again: list[_Unknown] = []
            there = yield from self._examine(one.sibling, again)  # what was read meanwhile may tell that it is a copy
            if there and again:
                there = yield from self._with(one.sibling, self._take_up)
            if not there:
                self._listing.forget()
                return True
            self._examined.add(one.sibling.version)
        self._waiting = 0
        return self._find_missing(log) or self._listing.dated != dated

    def _find_missing(self, log: Path) -> bool:
        """Look for files that are not there any more; tell whether another directory of the log was found."""
        olddir = self._missing.look(self._listing.directories(log))
        if olddir is not None:
            self._registry.add_olddir(str(olddir))
            self.look_again()
        return olddir is not None

    def _examine_all(self, siblings: list[Sibling]) -> Generator[int, None, list[_Unknown] | None]:
        """Read what changed and is known; return what is not known. None: some of it is not there any more."""
        for name in set(self.problems) - {str(sibling.path) for sibling in siblings}:
            del self.problems[name]
        self._examined &= {sibling.version for sibling in siblings}
        unknown: list[_Unknown] = []
        ours = {(cursor.dev, cursor.ino) for cursor in self._registry}
        unpacked = {str(sibling.path) for sibling in siblings}
        changed = [
            sibling
            for sibling in sorted(siblings, key=lambda sibling: (sibling.dev, sibling.ino) not in ours)
            if sibling.size and sibling.version not in self._examined and not sibling.packs_one_of(unpacked)
        ]
        for number, sibling in enumerate(changed):
            self._waiting = sum(later.size for later in changed[number:] if later.is_packed)
            before = len(unknown)
            if not (yield from self._examine(sibling, unknown)):
                self._listing.forget()
                return None
            if len(unknown) == before:
                self._examined.add(sibling.version)
        return unknown

    def _examine(self, sibling: Sibling, unknown: list[_Unknown]) -> Generator[int, None, bool]:
        """Read what a file holds of what is known; add it to ``unknown`` if nothing is. False: it is gone."""
        held = self._registry.open_as(sibling.dev, sibling.ino)
        if held is not None:
            held.name = str(sibling.path)
        elif self._registry.packed_as(sibling.version) is None:
            return (yield from self._with(sibling, lambda file: self._examine_open(sibling, file, unknown)))
        return True

    def _examine_open(self, sibling: Sibling, file: _Open, unknown: list[_Unknown]) -> Generator[int, None, None]:
        if kind(file.fd) is not None:
            head = self._reader.head(text(file.fd, clean(file.name)))
            if not (yield from self._examine_packed(file, head, sibling.version)):
                unknown.append(_Unknown(stamp(head), packed=True, mtime=sibling.mtime, sibling=sibling))
            return
        if sibling.is_packed:
            return  # it is still being written
        cursor = self._registry.identify(file.fd, file.status, file.name, self._listing.inodes())
        if cursor is None:
            first = stamp(os.pread(file.fd, 19, 0))
            unknown.append(_Unknown(first, packed=False, mtime=sibling.mtime, sibling=sibling))
        elif cursor.fd == file.fd:
            file.kept = True
            yield from self._read_held(cursor)

    def _examine_packed(self, file: _Open, head: bytes, version: tuple[int, ...]) -> Generator[int, None, bool]:
        """Read what a packed copy of something known holds beyond it; False: it is none."""
        candidates = self._registry.beginning(head)
        for cursor in candidates:
            if cursor.fd >= 0:
                cursor.note_found()
                return True  # its own file is still held, and holds all
        packed = text(file.fd, clean(file.name))
        covered, at, tail = yield from self._reader.covered(packed, candidates)
        if not covered:
            return False
        if covered[-1].end == at and covered[-1].ends(tail):
            yield from self._read_packed(covered[-1], packed, at, head, tail)
            covered[-1].note_packed(version)
            self._registry.changed = True
        return True

    def _take_up(self, file: _Open) -> Generator[int, None, None]:
        """Read a file that nothing is known of."""
        if kind(file.fd) is None:
            cursor = self._registry.add(FileCursor())
            cursor.hold(file.fd, file.status, file.name)
            file.kept = True
            yield from self._read_held(cursor)
            return
        cursor = self._registry.add(FileCursor(name=file.name, mtime=file.status.st_mtime_ns))
        yield from self._read_packed(cursor, text(file.fd, clean(file.name)), 0, b"", b"")
        status = file.status
        cursor.note_packed((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        self._registry.changed = True

    def _read_packed(
        self, cursor: FileCursor, packed: Text, at: int, head: bytes, tail: bytes
    ) -> Generator[int, None, None]:
        cursor.skip_to(at, head, tail)
        cursor.begin_packed()
        try:
            yield from self._reader.read_text(cursor, packed)
        finally:
            cursor.close()

    def _read_held(self, cursor: FileCursor) -> Generator[int, None, None]:
        cursor.until = time.monotonic() + self._hold
        while cursor.fd >= 0 and (consumed := self._reader.read(cursor, now=False)):
            yield consumed

    def _with(self, sibling: Sibling, act: Callable[[_Open], Generator[int, None, None]]) -> Generator[int, None, bool]:
        """Do something with a file opened; what prevents it is a problem to tell. False: it is not there."""
        name = str(sibling.path)
        file = None
        try:
            file = _Open(name, *open_regular(name))
            if (file.status.st_dev, file.status.st_ino) != (sibling.dev, sibling.ino):
                return False  # another file has the name by now
            yield from act(file)
            self.problems.pop(name, None)
        except FileNotFoundError:
            return False
        except OSError as error:
            self.problems[name] = f"{clean(name)}: cannot be read: {error.strerror}"
        except UnpackError as error:
            self.problems[name] = str(error)
        finally:
            if file is not None and not file.kept:
                os.close(file.fd)
        return True

    def _exclude(self, unknown: list[_Unknown]) -> None:
        """Leave what was rotated before our time; late lines to the newest of it are ours all the same."""
        for one in unknown:
            self._registry.exclude(one.first, one.mtime)
        plain = sorted((one for one in unknown if not one.packed), key=lambda one: one.mtime)
        for one in plain[-_LATE_AT_FIRST:]:
            try:
                fd, status = open_regular(one.sibling.path)
            except OSError:
                continue  # gone, or not readable: then there are no late lines either
            cursor = self._registry.add(FileCursor())
            cursor.hold(fd, status, str(one.sibling.path))
            cursor.until = time.monotonic() + self._hold
            cursor.skip_all(status.st_size)
        self._registry.path = str(self._path)
        self._registry.changed = True


def _names(siblings: list[Sibling]) -> set[tuple[Path, int]]:
    return {(sibling.path, sibling.ino) for sibling in siblings}
