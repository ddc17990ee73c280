"""The directories of a log: which names in them belong to it, and what lies under those.

    mainlog -> mainlog.1, mainlog.2.gz, mainlog-20261122, mainlog.0, mainlog.01
    main.log -> main.log.1, main-20261122.log.xz        (logrotate's ``extension``)
    mainlog-%D -> mainlog-20261122 is the log of a day, the latest name is the current one

%D is YYYYMMDD and %M is YYYYMM, as in Exim's log_file_path (Exim specification, chapter "Log
files"). Exim's clock and zone are not asked: the name that sorts last is the current log.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

_MOST_ENTRIES: Final = 20_000
_MOST_SIBLINGS: Final = 512
_MOST_SUBDIRECTORIES: Final = 64
_PACKED: Final = {".gz", ".xz", ".bz2", ".zst"}
_DATES: Final = {"%D": r"\d{8}", "%M": r"\d{6}"}
_NO_LOG = re.compile(r"~\Z|\.(?:swp|tmp|part|lock)\Z")


class Names:
    """The names of a log, from the last part of its path, which may hold %D or %M."""

    def __init__(self, path: Path) -> None:
        self.template: Final = path.name
        parts = re.split(r"(%D|%M)", path.name)
        pattern = "".join(_DATES.get(part) or re.escape(part) for part in parts)
        self.dated: Final = len(parts) > 1
        self._log = re.compile(pattern)
        stem, dot, extension = path.name.rpartition(".")
        rotated = pattern + r"[.\-_].*"
        if dot and stem and not self.dated:
            rotated += "|" + re.escape(stem) + r"[.\-_].*" + re.escape("." + extension) + r"(?:\..*)?"
        self._rotated = re.compile(rotated)

    def current(self, names: Iterable[str]) -> str | None:
        """Return the name under which Exim writes now; where dates make it, None if there is none yet."""
        if not self.dated:
            return self.template
        return max((name for name in names if self._log.fullmatch(name)), default=None)

    def is_sibling(self, name: str) -> bool:
        """Tell whether an older part of the log may lie under this name."""
        if _NO_LOG.search(name):
            return False
        return self._rotated.fullmatch(name) is not None or (self.dated and self._log.fullmatch(name) is not None)


class NoRegularFileError(OSError):
    """The name is that of a file that is not read: a directory, a FIFO, a device, a socket."""


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
        """The part of the status that changes when the file is written to."""
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
