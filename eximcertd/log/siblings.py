"""What lies in the directories of a log: the log, and what rotation left of it."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

_MOST_ENTRIES: Final = 20_000
_MOST_SIBLINGS: Final = 512
_MOST_SUBDIRECTORIES: Final = 64
_PACKED: Final = {".gz", ".xz", ".bz2", ".zst"}


class NoRegularFileError(OSError):
    """There is something under the name that is not read: a directory, a FIFO, a device, a socket."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """A regular file that may be a part of the log. size in bytes, mtime in ns."""

    path: Path
    dev: int
    ino: int
    size: int
    mtime: int

    @property
    def version(self) -> tuple[int, int, int, int]:
        """What is another when somebody has written to the file."""
        return (self.dev, self.ino, self.size, self.mtime)

    @property
    def is_packed(self) -> bool:
        """Whether the name says that the file is packed."""
        return self.path.suffix in _PACKED

    def packs_one_of(self, names: Collection[str]) -> bool:
        """Tell whether its original is among the names: then packing is not finished, or it is a mere copy."""
        return self.is_packed and str(self.path.with_suffix("")) in names


def open_regular(path: Path | str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; never block on anything else, nor touch a device. Raises OSError.

    The name may be a link: some sites point it at a new file each day.
    """
    status = os.stat(path)  # noqa: PTH116 - a descriptor's status must look the same
    fd = -1
    if stat.S_ISREG(status.st_mode):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        if fd >= 0:
            os.close(fd)
        kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFDIR: "a directory", stat.S_IFSOCK: "a socket"}
        what = kinds.get(stat.S_IFMT(status.st_mode), "a device")
        raise NoRegularFileError(errno.EINVAL, f"it is {what}, not a regular file", str(path))
    return fd, status


def in_directory(directory: Path, belongs: Callable[[str], bool]) -> tuple[list[Sibling], list[str]]:
    """Return the files in one directory whose names belong to the log, and every name in it. Raises OSError."""
    siblings: list[Sibling] = []
    every: list[str] = []
    with os.scandir(directory) as entries:
        for entry in islice(entries, _MOST_ENTRIES):
            every.append(entry.name)
            if not belongs(entry.name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # gone between the listing and the look
                continue
            if stat.S_ISREG(status.st_mode):
                path = directory / entry.name
                siblings.append(Sibling(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    siblings.sort(key=lambda sibling: sibling.mtime)
    return siblings[-_MOST_SIBLINGS:], every


def subdirectories(directory: Path) -> list[Path]:
    """Return some of the directories in a directory: those a log may have been moved to."""
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry in islice(entries, _MOST_ENTRIES) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [directory / name for name in sorted(found)[:_MOST_SUBDIRECTORIES]]
