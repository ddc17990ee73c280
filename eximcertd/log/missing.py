"""Followed files that have disappeared: the directory that they were moved to is searched, or a loss is reported."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from eximcertd.log.cursor import HEAD_LENGTH, FileCursor
from eximcertd.log.directory import in_directory, open_regular, subdirectories
from eximcertd.log.unpack import UnpackError, kind, text
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eximcertd.log.reader import Reader

_MOST_LOST: Final = 5
_LOSS_TOLD: Final = 86_400.0


class MissingFiles:
    """The missing files. path: of the log. belongs: tells whether a name may be that of a part of the log."""

    def __init__(self, path: Path, reader: Reader, belongs: Callable[[str], bool]) -> None:
        self._path = path
        self._reader = reader
        self._belongs = belongs
        self._missing: list[FileCursor] = []
        self._lost: list[tuple[float, str]] = []

    @property
    def lost(self) -> list[str]:
        """What could not be found any more, in the last day, a sentence each."""
        return [what for until, what in self._lost if until > time.monotonic()]

    def add(self, cursor: FileCursor) -> None:
        """Look for this file, or a copy of it, unless it is found by then."""
        self._missing.append(cursor)

    def look(self, known: list[Path]) -> Path | None:
        """Return a directory, beside or below the known ones, that holds one of the files; else report the loss."""
        missing = [cursor for cursor in self._missing if not cursor.found and cursor.end]
        for near in {near.parent for near in known} | set(known) if missing else ():
            for directory in subdirectories(near):
                if directory not in known and self._holds(directory, missing):
                    return directory
        for cursor in missing:
            if cursor.fd >= 0:
                continue  # all of it was read
            name = clean(cursor.name or str(self._path))
            what = f"{name}: deleted or truncated, and no copy of it was found: attempts at its end may not be counted"
            self._lost = [*self._lost[1 - _MOST_LOST :], (time.monotonic() + _LOSS_TOLD, what)]
        self._missing.clear()
        return None

    def _holds(self, directory: Path, missing: list[FileCursor]) -> bool:
        """Tell whether one of the missing files lies in a directory."""
        with suppress(OSError):
            for sibling in in_directory(directory, self._belongs)[0]:
                with suppress(OSError, UnpackError):
                    fd, status = open_regular(sibling.path)
                    try:
                        if any(self._is_one(fd, status.st_size, cursor) for cursor in missing):
                            return True
                    finally:
                        os.close(fd)
        return False

    def _is_one(self, fd: int, size: int, cursor: FileCursor) -> bool:
        if kind(fd) is not None:
            return cursor.begins(self._reader.head(text(fd, "")))
        return bool(cursor.is_copy(fd, os.pread(fd, HEAD_LENGTH, 0), size))
