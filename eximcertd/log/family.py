"""The other files of a log: which of them hold lines that were not counted yet, and their reading."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from eximcertd.log.names import Names
from eximcertd.log.segment import HEAD_LENGTH
from eximcertd.log.siblings import Sibling, in_directory, open_regular, subdirectories
from eximcertd.log.track import Track, stamp
from eximcertd.log.unpack import UnpackError, kind, text
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.log.collect import Collector
    from eximcertd.log.trail import Trail

_UNSETTLED: Final = 100_000_000
"""A directory that changed less than this long ago (ns) may change again without its time telling."""
_LATE_AT_FIRST: Final = 2
_MOST_LISTINGS: Final = 20

_Fresh: TypeAlias = tuple[str, bool, int, Sibling]
"""A file that nothing is known of: the time stamp it begins with, whether it is packed, its mtime."""


@dataclass(slots=True)
class _Open:
    """An open regular file. kept: a track holds the descriptor from now on."""

    name: str
    fd: int
    status: os.stat_result
    kept: bool = False


class Family:
    """What lies around the log. read_held: reads on in all files that are held open. hold: seconds to hold others.

    first: this is the very first start, what is there was there before us.

    problems: what could not be read, a sentence each, by file or directory.
    """

    def __init__(
        self,
        path: Path,
        names: Names,
        trail: Trail,
        collector: Collector,
        *,
        read_held: Callable[[], None],
        hold: float,
    ) -> None:
        self._path = path
        self._read_held = read_held
        self._names = self._target = names
        self._trail = trail
        self._collector = collector
        self._hold = hold
        self._listed: dict[Path, int] = {}
        self._judged: set[tuple[int, int, int, int]] = set()
        self._inodes: set[tuple[int, int]] = set()
        self.first = trail.path != str(path)
        self._sought = self.first
        self.dated: str | None = None
        self.problems: dict[str, str] = {}

    def directories(self, log: Path) -> list[Path]:
        """Return the directories that parts of the log may lie in, without links."""
        found = [log.parent.resolve(), Path(os.path.realpath(log)).parent, *map(Path, self._trail.olddirs)]
        return list(dict.fromkeys(found))

    def is_sibling(self, name: str) -> bool:
        """Tell whether an older part of the log may lie under this name; a link's target is rotated under its own."""
        return self._names.is_sibling(name) or self._target.is_sibling(name)

    def concerns(self, name: str) -> bool:
        """Tell whether the log or a part of it may lie under this name."""
        return name in {self._path.name, self._target.template} or self.is_sibling(name)

    def look_again(self) -> None:
        """Judge everything anew at the next scan: a copy of what was read may lie there now."""
        self._judged.clear()
        self._listed.clear()

    def listing(self, log: Path) -> list[Sibling]:
        """Return what lies in the directories now."""
        self._listed.clear()
        self.problems = {name: what for name, what in self.problems.items() if name.startswith("/")}
        target = Path(os.path.realpath(log))
        self._target = self._names if target.name == log.name else Names(target)
        siblings = [sibling for directory in self.directories(log) for sibling in self._list(directory)]
        self._inodes = {(sibling.dev, sibling.ino) for sibling in siblings}
        return siblings

    def inodes(self) -> set[tuple[int, int]]:
        """Return the inodes of all that was there at the last listing, and of the current log."""
        current = self._trail.current
        return self._inodes | ({(current.dev, current.ino)} if current is not None else set())

    def scan(self, log: Path) -> bool:
        """Where a directory has changed, judge and read the files that did; tell whether to look again."""
        if not self._has_changed(log):
            return False
        before, dated = self._collector.consumed, self.dated
        for _ in range(_MOST_LISTINGS):
            siblings = self.listing(log)
            if not self.first:
                self._read_held()  # what was listed as a copy of it is known as one then
            fresh = self._judge_all(siblings)
            if fresh is not None and (not fresh or _names(siblings) == _names(self.listing(log))):
                break  # else a file that was renamed meanwhile may have been left out
        else:
            return True  # files are renamed faster than we can look: what is new cannot be told from what is old
        if not self._sought:
            self._sought = True
            if self._seek(log):
                return True
        if self.first:
            self._pass_over(fresh)
            self.first = False
            fresh.clear()
        for first, _, mtime, sibling in sorted(fresh, key=lambda entry: entry[:3]):
            if self._trail.is_new(first, mtime) and not self._take_up(sibling):
                self._listed.clear()
                return True
            self._judged.add(sibling.version)
        return self._collector.consumed != before or self.dated != dated

    def let_go(self, most: int) -> None:
        """Close what was held long enough, and what is too much."""
        held = sorted(self._trail.held(), key=lambda track: track.until)
        now = time.monotonic()
        for number, track in enumerate(held):
            if track.until < now or number < len(held) - most:
                self._collector.leave(track)
                track.close()

    def _has_changed(self, log: Path) -> bool:
        try:
            return any(self._listed.get(here) != here.stat().st_mtime_ns for here in self.directories(log))
        except OSError:
            return True

    def _list(self, directory: Path) -> list[Sibling]:
        try:
            changed = directory.stat().st_mtime_ns
            moved = {self._path.name, self._target.template} if str(directory) in self._trail.olddirs else set()
            siblings, every = in_directory(directory, lambda name: name in moved or self.is_sibling(name))
        except OSError as error:
            self.problems[f"list {directory}"] = f"{clean(str(directory))}: cannot be listed: {error.strerror}"
            return []
        if self._names.dated and directory == self._path.parent.resolve():
            self.dated = self._names.current(every)
        self._listed[directory] = changed if time.time_ns() - changed > _UNSETTLED else -1
        return siblings

    def _judge_all(self, siblings: list[Sibling]) -> list[_Fresh] | None:
        """Read what changed and is known; return what is not known. None: some of it is not there any more."""
        for name in set(self.problems) - {str(sibling.path) for sibling in siblings}:
            if name.startswith("/"):
                del self.problems[name]
        self._judged &= {sibling.version for sibling in siblings}
        fresh: list[_Fresh] = []
        ours = {(track.dev, track.ino) for track in self._trail}
        unpacked = {str(sibling.path) for sibling in siblings}
        for sibling in sorted(siblings, key=lambda sibling: (sibling.dev, sibling.ino) not in ours):
            if not sibling.size or sibling.version in self._judged or sibling.packs_one_of(unpacked):
                continue
            unknown = len(fresh)
            if not self._judge(sibling, fresh):
                self._listed.clear()
                return None
            if len(fresh) == unknown:
                self._judged.add(sibling.version)
        return fresh

    def _judge(self, sibling: Sibling, fresh: list[_Fresh]) -> bool:
        """Read what a file holds of what is known; put it with the fresh ones if nothing is. False: it is gone."""
        held = self._trail.open_as(sibling.dev, sibling.ino)
        if held is not None:
            held.name = str(sibling.path)
        elif not self._trail.has_packed(sibling):
            return self._with(sibling, lambda file: self._judge_open(sibling, file, fresh))
        return True

    def _judge_open(self, sibling: Sibling, file: _Open, fresh: list[_Fresh]) -> None:
        if kind(file.fd) is not None:
            if not self._judge_packed(file.fd, sibling):
                first = stamp(self._collector.head(text(file.fd, clean(file.name)), 19))
                fresh.append((first, True, sibling.mtime, sibling))
            return
        if sibling.is_packed:
            return  # somebody begins to write it
        track = self._trail.plain(file.fd, file.status, file.name, self.inodes())
        if track is None:
            fresh.append((stamp(os.pread(file.fd, 19, 0)), False, sibling.mtime, sibling))
        elif track.fd == file.fd:
            file.kept = True
            self._read(track)

    def _judge_packed(self, fd: int, sibling: Sibling) -> bool:
        """Read what a packed copy of something known holds beyond it; False: it is none."""
        name = clean(str(sibling.path))
        for track in self._trail.packed(self._collector.head(text(fd, name), HEAD_LENGTH)):
            if track.fd >= 0:
                return True  # its own file is still held, and tells all
            packed = text(fd, name)
            match = self._collector.skip(track, packed)
            if match:
                self._collector.read_packed(track, packed)
                self._trail.note_packed(track, sibling)
            if match is not False:
                return True
        return False

    def _take_up(self, sibling: Sibling) -> bool:
        """Read a file that nothing was known of, unless what was read meanwhile tells that it is a copy.

        False: it is not there any more.
        """
        again: list[_Fresh] = []
        there = self._judge(sibling, again)
        if there and again and not self._collector.stopped:
            there = self._with(sibling, lambda file: self._take_up_open(sibling, file))
        return there

    def _take_up_open(self, sibling: Sibling, file: _Open) -> None:
        if kind(file.fd) is None:
            track = self._trail.add(Track(file.name, fd=file.fd, status=file.status))
            file.kept = True
            self._read(track)
            return
        packed = text(file.fd, clean(file.name))
        track = self._trail.add(Track(file.name))
        track.mtime = sibling.mtime
        self._collector.read_packed(track, packed)
        if not self._collector.stopped:
            self._trail.note_packed(track, sibling)

    def _with(self, sibling: Sibling, act: Callable[[_Open], None]) -> bool:
        """Do something with a file opened; what keeps us from it is a problem to tell. False: it is not there."""
        name = str(sibling.path)
        file = None
        try:
            file = _Open(name, *open_regular(name))
            if (file.status.st_dev, file.status.st_ino) != (sibling.dev, sibling.ino):
                return False  # another file has the name by now
            act(file)
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

    def _read(self, track: Track) -> None:
        track.until = time.monotonic() + self._hold
        self._collector.read(track)

    def _seek(self, log: Path) -> bool:
        """After a restart: where a file that was followed is not there any more, find the directory it went to."""
        inodes = self.inodes()
        lost = [track for track in self._trail if track.fd < 0 and (track.dev, track.ino) not in inodes][:2]
        if not lost or any(track.packed for track in lost):
            return False
        known = self.directories(log)
        for near in {near.parent for near in known} | set(known):
            for directory in subdirectories(near):
                if directory not in known and self._holds(directory, lost):
                    self._trail.olddirs.append(str(directory))
                    self._collector.changed = True
                    self.look_again()
                    return True
        return False

    def _holds(self, directory: Path, lost: list[Track]) -> bool:
        """Tell whether one of the lost files lies in a directory."""
        for sibling in in_directory(directory, lambda name: name == self._path.name or self.is_sibling(name))[0]:
            found: list[bool] = []
            self._with(sibling, lambda file: found.append(self._is_one_of(file, lost)))  # noqa: B023 - called at once
            if any(found):
                return True
        return False

    def _is_one_of(self, file: _Open, lost: list[Track]) -> bool:
        if kind(file.fd) is not None:
            head = self._collector.head(text(file.fd, clean(file.name)), HEAD_LENGTH)
            return any(track.is_in(head) for track in lost)
        head = os.pread(file.fd, HEAD_LENGTH, 0)
        return any(track.is_copy(file.fd, head, file.status.st_size) for track in lost)

    def _pass_over(self, fresh: list[_Fresh]) -> None:
        """Leave what was rotated before our time; late lines to the newest of it are ours all the same."""
        for first, _, mtime, _ in fresh:
            self._trail.before(first, mtime)
        plain = sorted((entry for entry in fresh if not entry[1]), key=lambda entry: entry[2])
        for _, _, _, sibling in plain[-_LATE_AT_FIRST:]:
            try:
                fd, status = open_regular(sibling.path)
            except OSError:
                continue  # gone, or not for us: then there are no late lines either
            track = self._trail.add(Track(str(sibling.path), fd=fd, status=status))
            track.until = time.monotonic() + self._hold
            track.pass_over(status.st_size)
        self._trail.path = str(self._path)
        self._collector.changed = True


def _names(siblings: list[Sibling]) -> set[tuple[Path, int]]:
    return {(sibling.path, sibling.ino) for sibling in siblings}
