"""Files that nobody but root can write: opened name by name from /, no link followed, every directory checked.

A user who can write the macro file, or replace a directory above it, can configure a program that starts as root: Exim
checks neither owner nor mode of an included file. If a user other than root runs the program, that user is trusted too.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.publish.error import PublishError, refused
from eximcertd.publish.request import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _check(found: os.stat_result, path: Path, *, sticky: bool = False) -> None:
    """Raise PublishError if others could have written it. sticky: a sticky directory protects what is root's in it."""
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (sticky and found.st_mode & stat.S_ISVTX)
    if writable or found.st_uid not in {0, os.geteuid()}:
        trusted = "root" if os.geteuid() == 0 else f"root and the user {os.geteuid()}"
        seen = f"mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}"
        what = "look at what it holds, then chown root and chmod go-w it"
        raise refused(f"{path} can be written by others than {trusted} ({seen}): {what}")


def _check_file(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise refused(f"{path} is not a regular file: move it away")
    _check(found, path)
    if found.st_nlink != 1:
        raise refused(f"{path} has {found.st_nlink} hard links and may be another program's: copy it to a new file")


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Name the file in an OSError; raise PublishError instead if it is a link."""
    try:
        yield
    except OSError as error:
        if path.is_symlink():
            raise refused(f"{path} is a symbolic link, which is not followed: name the path it leads to") from None
        raise OSError(error.errno, error.strerror, str(path)) from None


def open_directory(path: Path) -> int:
    """Return a descriptor of a directory. Raises PublishError if it or one above is unsafe or a link, and OSError."""
    at = Path("/")
    descriptor = os.open("/", _DIRECTORY)
    try:
        _check(os.fstat(descriptor), at, sticky=True)
        for part in path.parts[1:]:
            at /= part
            with _errors(at):
                below = os.open(part, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
            _check(os.fstat(descriptor), at, sticky=True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class SecureDirectory:
    """A directory that nobody but root can change, held open. Every file in it is reached through the descriptor."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.descriptor: Final = open_directory(path)

    def read(self, name: str, largest: int) -> tuple[bytes, os.stat_result] | None:
        """Return a file's bytes and status, checked before it is read; None without a file. Raises PublishError."""
        path = self.path / name
        try:
            with _errors(path):
                descriptor = os.open(name, _READ, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
            _check_file(status, path)
            if status.st_size > largest:
                raise refused(f"{path} is larger than {largest} bytes: it is not the file that it should be")
            return os.read(descriptor, status.st_size), status  # of a regular file all that is asked for
        finally:
            os.close(descriptor)

    def write(self, name: str, raw: bytes) -> None:
        """Write a new file, readable by all and synced, in place of what had the name. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)
        with os.fdopen(os.open(name, _CREATE, 0o600, dir_fd=self.descriptor), "wb") as file:
            file.write(raw)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())

    def rename(self, old: str, new: str) -> None:
        """Replace one file by another, and sync the directory. Raises OSError."""
        os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    @contextmanager
    def locked(self, name: str, limit: float) -> Iterator[None]:
        """Hold the lock under which one request is served at a time; limit: seconds to wait. Raises PublishError."""
        path = self.path / name
        with _errors(path):
            descriptor = os.open(name, _LOCK, 0o600, dir_fd=self.descriptor)
        try:
            _check_file(os.fstat(descriptor), path)
            deadline = time.monotonic() + limit
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise PublishError(FAILED, f"another request has held {path} for {limit:g} s") from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)
