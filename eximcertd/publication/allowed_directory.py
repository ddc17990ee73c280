"""The directory of the ``directory`` form: one empty file per approved fingerprint.

Exim looks a fingerprint up with ``dsearch,filter=file`` (Exim specification, chapter "File and database
lookups"): only a regular file counts. eximcertd alone makes and removes the files.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.errors import EximcertdError
from eximcertd.fingerprint import Fingerprint, is_exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MODE: Final = 0o755  # Exim's own user reads it
_MOST_NAMED: Final = 20


class DirectoryError(EximcertdError):
    """The directory of allowed fingerprints cannot be read or changed."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What lies in the directory. strangers: names that are no fingerprint's regular file; they never count."""

    fingerprints: frozenset[Fingerprint]
    strangers: tuple[str, ...]


class AllowedDirectory:
    """STATE/allowed. Every change is seen on the disk, and the directory synced, before a method returns."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def prepare(self) -> None:
        """Make the directory if it is missing and give it its mode, whatever the umask. Raises DirectoryError."""
        with self._told():
            self.path.mkdir(mode=_MODE, exist_ok=True)
            with self._opened() as directory:
                if stat.S_IMODE(os.fstat(directory).st_mode) != _MODE:
                    os.fchmod(directory, _MODE)

    def contents(self) -> Contents:
        """Return what lies there. Raises DirectoryError: never taken for an empty directory."""
        found: set[Fingerprint] = set()
        strangers: list[str] = []
        with self._told(), self._opened() as directory, os.scandir(directory) as entries:
            for entry in entries:
                if is_exact(entry.name) and entry.is_file(follow_symlinks=False):
                    found.add(Fingerprint(entry.name))
                elif len(strangers) < _MOST_NAMED:
                    strangers.append(entry.name)
        return Contents(frozenset(found), tuple(strangers))

    def change(self, add: Iterable[Fingerprint], remove: Iterable[Fingerprint]) -> None:
        """Make and remove files, remove first. Raises DirectoryError; what was done until then stays done."""
        with self._told(), self._opened() as directory:
            for fingerprint in remove:
                try:
                    os.unlink(fingerprint, dir_fd=directory)
                except FileNotFoundError:
                    continue
                except IsADirectoryError:
                    continue  # a directory of that name does not count for Exim either
            for fingerprint in add:
                self._make(directory, fingerprint)
            os.fsync(directory)

    def _make(self, directory: int, fingerprint: Fingerprint) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open(fingerprint, flags, 0o644, dir_fd=directory))
        except FileExistsError:
            there = os.stat(fingerprint, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISREG(there.st_mode):
                return
            if stat.S_ISDIR(there.st_mode):
                os.rmdir(fingerprint, dir_fd=directory)
            else:
                os.unlink(fingerprint, dir_fd=directory)
            os.close(os.open(fingerprint, flags, 0o644, dir_fd=directory))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DirectoryError(
                f"{self.path}: the directory of allowed fingerprints cannot be used: {error.strerror}",
                hint="It must exist, be a directory of the user that eximcertd runs as, and have room.",
            ) from error
