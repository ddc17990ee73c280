"""Files in a directory that others can write: opened without following links, bounded, written whole or not at all."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from eximcertd.fleet.remote import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Hold a directory open. The last part of its path may not be a link. Raises RemoteError, also within."""
    try:
        descriptor = os.open(path, _DIRECTORY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        where = path / str(error.filename) if error.filename != str(path) and error.filename else path
        link = where.is_symlink()
        raise RemoteError(f"{where}: {'a symbolic link, which is not followed' if link else error.strerror}") from None


def names(directory: int) -> set[str]:
    """Return the names in a directory. Raises OSError."""
    return set(os.listdir(directory))


def read(directory: int, name: str, largest: int) -> tuple[bytes, os.stat_result] | None:
    """Return a file's bytes and status, None without a file. Raises OSError, and RemoteError if it is none to read."""
    try:
        descriptor = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RemoteError("it is not a regular file")
        raw = file.read(largest + 1)
    if len(raw) > largest:
        raise RemoteError(f"it is larger than {largest} bytes")
    return raw, status


def write(directory: int, name: str, raw: bytes, *, new: bool = False) -> None:
    """Write a file that all may read, synced, in place of what had its name. Raises OSError.

    new: raise FileExistsError if it has the name; of two that write a new file, one does.
    """
    # Two may write a new file at once, each under its own name. Otherwise the name is always the same: a program that
    # was killed leaves one behind at most.
    beside = f".{name}.{threading.get_native_id() if new else 'new'}"
    with suppress(FileNotFoundError):
        os.unlink(beside, dir_fd=directory)
    try:
        with os.fdopen(os.open(beside, _CREATE, 0o600, dir_fd=directory), "wb") as file:
            file.write(raw)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        if new:
            os.link(beside, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        else:
            os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=directory)
