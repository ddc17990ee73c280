"""Files that root alone could have written: opened component by component, no link followed, every parent checked.

Whoever can write the macro file, or a directory above it, can make Exim run a program as root (included files
get no check from Exim itself). Run by somebody else than root, it is that user, besides root, who is trusted.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.publish.stop import failed, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PORTION: Final = 1 << 20


def _who() -> str:
    return "root" if os.geteuid() == 0 else f"root and the user {os.geteuid()}"


def _trusted(uid: int) -> bool:
    return uid in (0, os.geteuid())


def check_directory(descriptor: int, path: Path) -> None:
    """Raise Stop unless nobody but root can make, remove or replace what root has in an open directory."""
    found = os.fstat(descriptor)
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not _trusted(found.st_uid) or (writable and not found.st_mode & stat.S_ISVTX):
        whose = f"mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}"
        raise refused(f"{path} can be written by others than {_who()} ({whose}): chown root and chmod go-w it")


def check_file(found: os.stat_result, path: Path) -> None:
    """Raise Stop unless it is a regular file that nobody but root could have written, under this one name."""
    if not stat.S_ISREG(found.st_mode):
        raise refused(f"{path} is no regular file: move it away")
    if not _trusted(found.st_uid) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        whose = f"mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}"
        raise refused(
            f"{path} could have been written by others than {_who()} ({whose}): "
            "look at what it says, then chown root and chmod 0644 it"
        )
    if found.st_nlink != 1:
        raise refused(f"{path} has {found.st_nlink} hard links: it may be somebody else's file; copy it to a new one")


def open_directory(path: Path) -> int:
    """Return a descriptor of a directory whose every parent, and which itself, root alone can change.

    Raises Stop (unsafe, or a link) and OSError (missing, unreadable).
    """
    at = Path("/")
    descriptor = os.open("/", _FOLDER)
    try:
        check_directory(descriptor, at)
        for part in path.parts[1:]:
            at /= part
            try:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
            except OSError as error:
                raise _told(error, at) from None
            os.close(descriptor)
            descriptor = below
            check_directory(descriptor, at)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _told(error: OSError, path: Path) -> Exception:
    if path.is_symlink():
        return refused(f"{path} is a symbolic link, which is not followed: name the path that it leads to")
    return OSError(error.errno, error.strerror, str(path))


class Directory:
    """A directory that root alone can change, held open; all files in it are reached through the descriptor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor: Final = open_directory(path)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    def stat(self, name: str) -> os.stat_result | None:
        """Return what is known of a file, links not followed; None if there is none. Raises OSError."""
        with suppress(FileNotFoundError):
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        return None

    def read(self, name: str, largest: int) -> bytes | None:
        """Return a file's bytes, checked before one is read; None if there is no file. Raises Stop and OSError."""
        path = self.path / name
        try:
            descriptor = os.open(name, _READ, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _told(error, path) from None
        try:
            check_file(os.fstat(descriptor), path)
            raw = bytearray()
            while portion := os.read(descriptor, _PORTION):
                raw += portion
                if len(raw) > largest:
                    raise refused(f"{path} is larger than {largest} bytes: it is not what it should be")
            return bytes(raw)
        finally:
            os.close(descriptor)

    def write(self, name: str, raw: bytes, *, replace: bool = True) -> None:
        """Write a new file, world-readable and synced, in place of what had the name. Raises OSError."""
        if replace:
            self.remove(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=self.descriptor), "wb") as file:
            file.write(raw)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())

    def rename(self, old: str, new: str) -> None:
        """Put one file in another's place, and sync. Raises OSError."""
        os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        self.sync()

    def remove(self, name: str) -> None:
        """Remove a file if it is there. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Make names made and removed so far outlast a power cut. Raises OSError."""
        os.fsync(self.descriptor)

    @contextmanager
    def locked(self, name: str, limit: float) -> Iterator[None]:
        """Hold the lock that lets one publication run at a time. Raises Stop if it is not free within the limit."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, 0o600, dir_fd=self.descriptor)
        except OSError as error:
            raise _told(error, self.path / name) from None
        try:
            check_file(os.fstat(descriptor), self.path / name)
            deadline = time.monotonic() + limit
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise failed(f"another publication holds {self.path / name} since {limit:g} s") from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)
