"""The log files that were met so far, and which of them a file is: what a follower remembers.

Which file is which: an inode that is held open is sure. Otherwise the content decides, and where the
content is all of one second (so that another file could have the same), only together with a reason why
there should be a copy: the file was packed, or truncated in place, or its inode is gone.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from eximcertd.errors import EximcertdError
from eximcertd.log.segment import HEAD_LENGTH
from eximcertd.log.track import Track, from_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.log.siblings import Sibling

VERSION: Final = 1
_REMEMBERED: Final = 12
"""Tracks without a descriptor that are kept; older files are told by the time they begin with."""
_MOST_PACKED: Final = 3


class Trail:
    """The tracks, oldest first, and where our time begins.

    since, horizon: what begins at or before this time stamp (where it has none: was last changed at or before
    this time, ns) is older than all of them and was counted long ago, or lay there before the very first start.
    path: of the log, as it was configured when the position was stored; "" at the very first start.
    olddirs: other directories that rotation was seen to move files to.
    """

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self.current: Track | None = None
        self.since = ""
        self.horizon = 0
        self.olddirs: list[str] = []
        self.path = ""

    def __iter__(self) -> Iterator[Track]:
        """Go through the tracks, newest first."""
        return iter(self.tracks[::-1])

    def add(self, track: Track) -> Track:
        """Remember one more; the oldest without a descriptor are forgotten."""
        spare = sorted((old for old in self.tracks if old.fd < 0), key=lambda old: (old.first, old.mtime))
        for old in spare[: max(0, len(spare) - _REMEMBERED)]:
            self.before(old.first, old.mtime)
            self.tracks.remove(old)
        self.tracks.append(track)
        return track

    def before(self, first: str, mtime: int) -> None:
        """Note that a file that begins at ``first`` and was last changed at ``mtime`` is not to be read."""
        self.since = max(self.since, first)
        self.horizon = max(self.horizon, mtime)

    def is_new(self, first: str, mtime: int) -> bool:
        """Tell whether a file that is none of the tracks is newer than what was counted."""
        if not (first and self.since):
            return mtime > self.horizon
        return first > self.since or (first == self.since and mtime > self.horizon)

    def held(self) -> list[Track]:
        """Return the tracks that are held open, but for the current one."""
        return [track for track in self.tracks if track.fd >= 0 and track is not self.current]

    def open_as(self, dev: int, ino: int) -> Track | None:
        """Return the track that holds this inode open."""
        return next((track for track in self.tracks if track.fd >= 0 and (track.dev, track.ino) == (dev, ino)), None)

    def has_packed(self, sibling: Sibling) -> bool:
        """Tell whether this version of a packed copy is known to hold nothing more."""
        return any(list(sibling.version) in track.packed for track in self.tracks)

    def plain(self, fd: int, status: os.stat_result, name: str, inodes: set[tuple[int, int]]) -> Track | None:
        """Return the track that an open plain file is or is a copy of; None: it is none of them.

        The track holds ``fd`` from now on, unless it holds its own file already. inodes: those of all files that
        are there now. Raises OSError.
        """
        text = os.pread(fd, HEAD_LENGTH, 0)
        this = (status.st_dev, status.st_ino)
        for track in sorted(self.tracks, key=lambda track: (track.dev, track.ino) != this):
            inode = (track.dev, track.ino)
            if inode != this and inode in inodes and not track.truncated:  # its own file is there
                match = self._may_be_copied(track, status) and track.is_copy(fd, text, status.st_size)
                if match or (match is None and (len(text) == HEAD_LENGTH or track is self.current)):
                    return track
                continue
            gone = track.fd < 0 and inode not in inodes
            if not (inode == this or track.truncated or track.distinct or gone):
                continue
            match = track.is_copy(fd, text, status.st_size)
            if match:
                track.hold(fd, status, name)
            if match or (match is None and len(text) == HEAD_LENGTH and inode != this):
                return track
        for track in self.tracks:
            if (track.dev, track.ino) == this and track.fd < 0:
                track.truncated = True
        return None

    def _may_be_copied(self, track: Track, status: os.stat_result) -> bool:
        """Tell whether a file with a track's content may be a copy, as of a log about to be truncated."""
        if track is self.current:
            return track.distinct or status.st_mtime_ns >= os.fstat(track.fd).st_mtime_ns
        return track.distinct

    def packed(self, text: bytes) -> list[Track]:
        """Return the tracks that a packed file which begins with ``text`` may be a copy of."""
        return [track for track in self if track.is_in(text)]

    def note_packed(self, track: Track, sibling: Sibling) -> None:
        """Note that this version of a packed copy holds nothing more."""
        track.packed = [*track.packed[1 - _MOST_PACKED :], list(sibling.version)]

    def learn_olddir(self, track: Track, directories: list[Path]) -> bool:
        """Note where a held file was moved to, if that is another directory: more will come there."""
        try:
            where = os.readlink(f"/proc/self/fd/{track.fd}")  # noqa: PTH115 - what follows is about its text
        except OSError:
            return False
        olddir = os.path.dirname(where)  # noqa: PTH120 - the same
        if where.endswith(" (deleted)") or any(olddir == str(known) for known in directories):
            return False
        self.olddirs = [*self.olddirs[-3:], olddir]
        return True

    def to_text(self) -> str:
        """Return the position."""
        value = {
            "version": VERSION,
            "path": self.path,
            "since": self.since,
            "horizon": self.horizon,
            "olddirs": self.olddirs,
            "tracks": [track.to_json() for track in self.tracks if track.end],
        }
        return json.dumps(value, separators=(",", ":"))


def from_text(text: str) -> Trail:
    """Return the trail that a position tells. Raises EximcertdError."""
    try:
        value: Any = json.loads(text)
        if value.pop("version") != VERSION:
            value.clear()  # another version's fields mean something else
        trail = Trail()
        trail.tracks = [from_json(track) for track in value["tracks"]]
        trail.since, trail.horizon, trail.path = str(value["since"]), int(value["horizon"]), str(value["path"])
        trail.olddirs = [str(directory) for directory in value["olddirs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise EximcertdError(
            f"the log position in the ledger cannot be understood ({type(error).__name__}: {error})",
            hint="It was written by another version of eximcertd, or the ledger is damaged: use that version, or"
            " restore the ledger. Reading the log from its beginning would count its attempts twice.",
        ) from error
    return trail
