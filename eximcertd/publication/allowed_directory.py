"""The directory of the ``directory`` form: one empty file per approved fingerprint.

Exim looks a fingerprint up with ``dsearch,filter=file`` (Exim specification, chapter "File and database lookups"):
only a regular file counts. eximcertd makes and removes the files. The file published/revision holds
the number of the publication that last changed it.
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
    """What the directory holds. foreign: some of the other names, which are no fingerprint's regular file.

    fingerprints: the caller's own: the loop has no time to copy a million.
    """

    fingerprints: set[Fingerprint]
    foreign: tuple[str, ...]


class AllowedDirectory:
    """STATE/allowed. Every change is seen on the disk, and the directory synced, before a method returns."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._revision: Final = path.with_name("published") / "revision"

    def prepare(self) -> None:
        """Make the directory if it is missing and give it its mode, whatever the umask. Raises DirectoryError."""
        with self._errors():
            self._revision.parent.mkdir(mode=_MODE, exist_ok=True)
            self.path.mkdir(mode=_MODE, exist_ok=True)
            with self._opened() as directory:
                if stat.S_IMODE(os.fstat(directory).st_mode) != _MODE:
                    os.fchmod(directory, _MODE)

    def contents(self) -> Contents:
        """Return the contents. Raises DirectoryError: an unreadable directory never counts as empty."""
        found: set[Fingerprint] = set()
        foreign: list[str] = []
        with self._errors(), self._opened() as directory, os.scandir(directory) as entries:
            for entry in entries:
                if is_exact(entry.name) and entry.is_file(follow_symlinks=False):
                    found.add(Fingerprint(entry.name))
                elif len(foreign) < _MOST_NAMED:
                    foreign.append(entry.name)
        return Contents(found, tuple(foreign))

    def change(self, add: Iterable[Fingerprint], remove: Iterable[Fingerprint]) -> None:
        """Make and remove files, remove first. Raises DirectoryError; what was done until then remains."""
        with self._errors(), self._opened() as directory:
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

    def make(self, fingerprints: Iterable[Fingerprint]) -> None:
        """Make files without syncing the directory: Exim sees them at once. ``change`` syncs. Raises DirectoryError."""
        with self._errors(), self._opened() as directory:
            for fingerprint in fingerprints:
                self._make(directory, fingerprint)

    def revision(self) -> int:
        """Return the number that set_revision was last given, 0 if it never was. Raises DirectoryError."""
        with self._errors():
            try:
                text = self._revision.read_text(encoding="ascii")
            except FileNotFoundError:
                return 0
            return int(text) if text.strip().isdecimal() else 0

    def set_revision(self, number: int) -> None:
        """Write down, synced, that publication ``number`` changes the directory. Raises DirectoryError."""
        with self._errors():
            fresh = self._revision.with_name("revision.new")
            with fresh.open("w", encoding="ascii") as stream:
                stream.write(f"{number}\n")
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(self._revision)
            with self._opened(self._revision.parent) as directory:
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
    def _opened(self, path: Path | None = None) -> Iterator[int]:
        directory = os.open(path or self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DirectoryError(
                f"{error.filename or self.path}: allowed fingerprints cannot be read or written: {error.strerror}",
                hint="It and published/ must exist, belong to the user that eximcertd runs as, and have room.",
            ) from error
