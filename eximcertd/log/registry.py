"""The cursors of all known log files, and which of them belongs to a file.

An inode that is held open identifies a file. Otherwise the content decides. If all lines have the same second (so that
another file could have the same content), a reason for a copy is needed too: the file was packed, or truncated in
place, or its inode is gone.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, Final

from eximcertd.errors import EximcertdError
from eximcertd.log.cursor import HEAD_LENGTH, FileCursor, from_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

VERSION: Final = 2
_MOST_OLDDIRS: Final = 4


class Registry:
    """All cursors, oldest first, and the time from which files are read.

    current: of the file that Exim writes to now. last: of the one before. since, horizon: what begins at or before
    this time stamp (where it has none: was last changed at or before this time, ns) lay there before the very first
    start. path: of the log, as it was configured when the position was stored; "" at the very first start. olddirs:
    other directories that rotation was seen to move files to. changed: the position is to be stored soon.
    """

    def __init__(self, position: str | None = None, files: Iterable[str] = ()) -> None:
        """Take a stored position, and what the ledger keeps of files (JSON texts). Raises EximcertdError."""
        self.cursors: list[FileCursor] = []
        self.current: FileCursor | None = None
        self.last: FileCursor | None = None
        self.since = ""
        self.horizon = 0
        self.olddirs: list[str] = []
        self.path = ""
        self.changed = False
        try:
            self.cursors = [cursor for cursor in map(from_json, files) if not cursor.scanned]
            if position is not None:
                self._restore(json.loads(position))
            for cursor in self.cursors:
                cursor.close()  # none is read yet
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EximcertdError(
                f"the log position in the ledger cannot be understood ({type(error).__name__}: {error})",
                hint="It was written by another version of eximcertd, or the ledger is damaged: use that version, or"
                " restore the ledger. Reading the log from its beginning would count its attempts twice.",
            ) from error

    def _restore(self, value: dict[str, Any]) -> None:
        if value["version"] not in {1, VERSION}:
            raise ValueError(f"version {value['version']}")
        self.since, self.horizon, self.path = str(value["since"]), int(value["horizon"]), str(value["path"])
        self.olddirs = [str(directory) for directory in value["olddirs"]]
        for track in value.get("tracks", []):  # version 1 kept them here
            self.add(from_json(track)).dirty = self.changed = True
        self.last = next((cursor for cursor in self.cursors if cursor.id == value.get("current")), None)

    def __iter__(self) -> Iterator[FileCursor]:
        """Go through the cursors, newest first."""
        return iter(self.cursors[::-1])

    def add(self, cursor: FileCursor) -> FileCursor:
        """Remember one more."""
        self.cursors.append(cursor)
        return cursor

    def turn_to(self, cursor: FileCursor | None) -> None:
        """Note of which file Exim's log consists now."""
        self.current, self.last, self.changed = cursor, self.current or self.last, True

    def exclude(self, first: str, mtime: int) -> None:
        """Note that a file that begins at ``first`` and was last changed at ``mtime`` is not to be read."""
        self.since = max(self.since, first)
        self.horizon = max(self.horizon, mtime)

    def is_new(self, first: str, mtime: int) -> bool:
        """Tell whether a file without a cursor is newer than the very first start."""
        if not (first and self.since):
            return mtime > self.horizon
        return first > self.since or (first == self.since and mtime > self.horizon)

    def held(self) -> list[FileCursor]:
        """Return the cursors of files that are held open, but for the current one."""
        return [cursor for cursor in self.cursors if cursor.fd >= 0 and cursor is not self.current]

    def let_go(self, most: int) -> None:
        """Close files that were held long enough, or are too many, and have nothing left to read."""
        held = sorted(self.held(), key=lambda cursor: cursor.until)
        now = time.monotonic()
        for number, cursor in enumerate(held):
            if cursor.at_end and (cursor.until < now or number < len(held) - most):
                cursor.close()
                self.changed = True

    def open_as(self, dev: int, ino: int) -> FileCursor | None:
        """Return the cursor that holds this inode open."""
        return next((one for one in self.cursors if one.fd >= 0 and (one.dev, one.ino) == (dev, ino)), None)

    def packed_as(self, version: tuple[int, ...]) -> FileCursor | None:
        """Return the cursor of which this version of a packed copy is known to hold nothing more."""
        found = next((cursor for cursor in self.cursors if list(version) in cursor.packed), None)
        if found is not None:
            found.note_found()
        return found

    def beginning(self, text: bytes) -> list[FileCursor]:
        """Return the cursors of files that begin like one that begins with ``text``."""
        return [cursor for cursor in self if cursor.begins(text)]

    def identify(self, fd: int, status: os.stat_result, name: str, inodes: set[tuple[int, int]]) -> FileCursor | None:
        """Return the cursor of the file that an open plain file is or is a copy of; None: it is none of them.

        The cursor holds ``fd`` from now on, unless it holds its own file already. inodes: those of all files that
        are there now. Raises OSError.
        """
        text = os.pread(fd, HEAD_LENGTH, 0)
        this = (status.st_dev, status.st_ino)
        for cursor in sorted(self.cursors, key=lambda cursor: ((cursor.dev, cursor.ino) != this, -cursor.end)):
            inode = (cursor.dev, cursor.ino)
            if inode != this and inode in inodes and not cursor.truncated:  # its own file is there
                match = self._may_be_copied(cursor, status) and cursor.is_copy(fd, text, status.st_size)
                if match or (match is None and (len(text) == HEAD_LENGTH or cursor is self.current)):
                    return cursor
                continue
            gone = cursor.fd < 0 and inode not in inodes
            if not (inode == this or cursor.truncated or cursor.distinct or gone):
                continue
            match = cursor.is_copy(fd, text, status.st_size)
            if match:
                cursor.hold(fd, status, name)
            if match or (match is None and len(text) == HEAD_LENGTH and inode != this):
                return cursor
        for cursor in self.cursors:
            if (cursor.dev, cursor.ino) == this and cursor.fd < 0:
                cursor.truncated = cursor.dirty = True
        return None

    def _may_be_copied(self, cursor: FileCursor, status: os.stat_result) -> bool:
        """Tell whether a file with a cursor's content may be a copy, as of a log about to be truncated."""
        if cursor is self.current:
            return cursor.distinct or status.st_mtime_ns >= os.fstat(cursor.fd).st_mtime_ns
        return cursor.distinct

    def learn_olddir(self, cursor: FileCursor, directories: list[Path]) -> None:
        """Note where a held file was moved to, if that is another directory: more will come there.

        One that has no name any more may have been packed there: ``found`` is false until a copy is seen.
        """
        try:
            where = os.readlink(f"/proc/self/fd/{cursor.fd}")  # noqa: PTH115 - what follows is about its text
        except OSError:
            return
        olddir = os.path.dirname(where)  # noqa: PTH120 - the same
        if where.endswith(" (deleted)"):
            cursor.note_found(found=False)
        elif all(olddir != str(known) for known in directories):
            self.add_olddir(olddir)

    def add_olddir(self, directory: str) -> None:
        """Remember a directory that rotation moves files to."""
        self.olddirs = [*self.olddirs[1 - _MOST_OLDDIRS :], directory]
        self.changed = True

    def to_store(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Return the position, and what has changed of the files since the last call, by key."""
        position = {
            "version": VERSION,
            "path": self.path,
            "since": self.since,
            "horizon": self.horizon,
            "olddirs": self.olddirs,
            "current": last.id if (last := self.current or self.last) is not None else "",
        }
        changed = [cursor for cursor in self.cursors if cursor.dirty and cursor.end]
        for cursor in changed:
            cursor.dirty = False
        self.changed = False
        files = tuple((cursor.key, cursor.to_json()) for cursor in changed)
        return json.dumps(position, separators=(",", ":")), files
