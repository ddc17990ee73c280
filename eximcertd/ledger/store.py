"""The ledger's file: SQLite in WAL mode with full sync, opened by one eximcertd at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from eximcertd.errors import LedgerError
from eximcertd.ledger.schema import APPLICATION_ID, UPGRADES, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

LARGEST_CHECKED: Final = 64 << 20  # above this size the start does not read the whole file to check it

_PORTION: Final = 500  # below SQLite's limit of variables in one statement
_DAMAGED: Final = ("malformed", "not a database", "corrupt")


class DamagedError(LedgerError):
    """The ledger's file is no whole SQLite database."""


class Store:
    """One open ledger file; the loop's thread is the only one that uses it.

    directory: holds ledger.sqlite and is locked as long as the store is open.
    """

    def __init__(self, directory: Path) -> None:
        self.path: Final = directory / "ledger.sqlite"
        self._lock = _lock(directory)
        try:
            self._connection = _open(self.path)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close the file and give the lock back."""
        self._connection.close()
        os.close(self._lock)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of it or nothing; synced to the disk on return. Raises LedgerError."""
        with told(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back itself (disk full)
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read. Raises LedgerError."""
        with told(self.path):
            yield self._connection


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into LedgerError with what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if any(word in text for word in _DAMAGED):
            raise DamagedError(f"{path}: the ledger is damaged: {text}") from error
        if "full" in text:
            hint = "Make room on that file system; nothing was lost, and eximcertd goes on by itself."
            raise LedgerError(f"{path}: the disk is full", hint=hint) from error
        raise LedgerError(f"{path}: {text}", hint="Look at the file's owner and mode, and at its disk.") from error


def move_aside(directory: Path) -> Path:
    """Move a damaged ledger, with its WAL, out of the way, and return its new name."""
    suffix = ".damaged-" + time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = directory / ("ledger.sqlite" + suffix)
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):
        with contextlib.suppress(FileNotFoundError):
            (directory / name).rename(directory / (name + suffix))
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return aside


def _lock(directory: Path) -> int:
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LedgerError(
            f"{directory}: the state directory cannot be used: {error.strerror}",
            hint="It must exist and belong to the user that eximcertd runs as.",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise LedgerError(
            f"{directory}: another eximcertd uses this state directory",
            hint="Stop it first, or give this one a [state] directory of its own.",
        ) from None
    return descriptor


def in_portions(db: sqlite3.Connection, statement: str, values: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    """Yield the rows of a statement with an ``IN (%s)``, asked in portions below SQLite's limit of variables."""
    for start in range(0, len(values), _PORTION):
        portion = values[start : start + _PORTION]
        yield from db.execute(statement % ",".join("?" * len(portion)), portion)


def _open(path: Path) -> sqlite3.Connection:
    with told(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=5)
        try:
            version = _version(connection, path)
            path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -16384")
            connection.execute("PRAGMA temp_store = MEMORY")  # the journal of a statement that has a trigger
            connection.execute("PRAGMA journal_size_limit = 16777216")
            _upgrade(connection, version)
            if path.stat().st_size <= LARGEST_CHECKED:
                _check(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise DamagedError(f"{path}: the ledger is damaged: {verdict}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the file's version, before anything in it is touched."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise LedgerError(
            f"{path}: the ledger has version {version}, written by a newer eximcertd; this one knows up to {VERSION}",
            hint="Run the newer eximcertd again; the ledger was not touched.",
        )
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if version and application != APPLICATION_ID:
        raise LedgerError(f"{path}: a SQLite database, but no ledger of eximcertd", hint="Move it out of the way.")
    return version


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    for number, step in enumerate(UPGRADES[version:], start=version + 1):
        # one transaction a step: a crash leaves a whole older version
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{step}\nPRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {number};\nCOMMIT;"
        )
