"""What lies in the directories of a log: the log's own, that of a link's target, and those that files were moved to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.log.directory import Names, Sibling, in_directory
from eximcertd.text import clean

if TYPE_CHECKING:
    from eximcertd.log.registry import Registry

_UNSETTLED: Final = 100_000_000
"""A directory that changed less than this long ago (ns) may change again without its time telling."""


class LogListing:
    """The last listing of the directories.

    dated: the name under which Exim writes now, where that holds a date. problems: directories that cannot be listed,
    a sentence each.
    """

    def __init__(self, path: Path, names: Names, registry: Registry) -> None:
        self._path = path
        self._names = self._target = names
        self._registry = registry
        self._listed: dict[Path, int] = {}
        self._inodes: set[tuple[int, int]] = set()
        self.dated: str | None = None
        self.problems: dict[str, str] = {}

    def directories(self, log: Path) -> list[Path]:
        """Return the directories that parts of the log may lie in, without links."""
        found = [log.parent.resolve(), Path(os.path.realpath(log)).parent, *map(Path, self._registry.olddirs)]
        return list(dict.fromkeys(found))

    def concerns(self, name: str) -> bool:
        """Tell whether the log or a part of it may lie under this name."""
        return name in {self._path.name, self._target.template} or self.is_sibling(name)

    def is_sibling(self, name: str) -> bool:
        """Tell whether an older part of the log may lie under this name; a link's target is rotated under its own."""
        return self._names.is_sibling(name) or self._target.is_sibling(name)

    def take(self, log: Path) -> list[Sibling]:
        """Return what lies in the directories now."""
        self._listed.clear()
        self.problems = {}
        target = Path(os.path.realpath(log))
        self._target = self._names if target.name == log.name else Names(target)
        siblings = [sibling for directory in self.directories(log) for sibling in self._list(directory)]
        self._inodes = {(sibling.dev, sibling.ino) for sibling in siblings}
        return siblings

    def inodes(self) -> set[tuple[int, int]]:
        """Return the inodes of all that was there at the last listing, and of the current log."""
        current = self._registry.current
        return self._inodes | ({(current.dev, current.ino)} if current is not None else set())

    def has_changed(self, log: Path) -> bool:
        """Tell whether a directory has changed since it was listed."""
        try:
            return any(self._listed.get(here) != here.stat().st_mtime_ns for here in self.directories(log))
        except OSError:
            return True

    def forget(self) -> None:
        """List the directories anew at the next look, whether they have changed or not."""
        self._listed.clear()

    def _list(self, directory: Path) -> list[Sibling]:
        try:
            changed = directory.stat().st_mtime_ns
            moved = {self._path.name, self._target.template} if str(directory) in self._registry.olddirs else set()
            siblings, every = in_directory(directory, lambda name: name in moved or self.is_sibling(name))
        except OSError as error:
            self.problems[str(directory)] = f"{clean(str(directory))}: cannot be listed: {error.strerror}"
            return []
        if self._names.dated and directory == self._path.parent.resolve():
            self.dated = self._names.current(every)
        self._listed[directory] = changed if time.time_ns() - changed > _UNSETTLED else -1
        return siblings
