"""Keeps the states of the directory's names for the next start, in SQLite; can be deleted at any time.

It holds nothing that is not read again from the directory whenever the file's identity differs, and no
decision. So whatever is wrong with it (a damaged file, another version, another directory) it is begun anew,
and where it cannot be written the next start reads every file again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.state import AGAIN, DIGEST, HEAD, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

VERSION: Final = 1
_BUSY_SECONDS: Final = 2.0

# Asked of SQLite, since asking Python costs a third of the time that a restart may take.
_UNSOUND: Final = f"""
SELECT EXISTS (SELECT 1 FROM names WHERE NOT (
    typeof(name) = 'blob' AND typeof(state) = 'blob' AND length(name) BETWEEN 1 AND 255
    AND length(state) >= {HEAD} AND (length(state) - {HEAD}) % {DIGEST} = 0
    AND (substr(state, {HEAD}, 1) BETWEEN x'00' AND x'{max(Finding):02x}'
         OR substr(state, {HEAD}, 1) BETWEEN x'{AGAIN:02x}' AND x'{AGAIN | max(Finding):02x}')))
"""  # noqa: S608 - nothing but numbers of this program goes in


class Cache:
    """The file ``path``, for the certificates of ``directory``."""

    def __init__(self, path: Path, directory: bytes) -> None:
        self._path = path
        self._directory = directory

    def load(self) -> dict[bytes, bytes]:
        """Return name -> state as kept; empty where nothing sound is there for this directory."""
        if not self._path.is_file():
            return {}
        try:
            with closing(self._connect()) as connection:
                if not self._is_ours(connection):
                    return {}
                if connection.execute(_UNSOUND).fetchone() != (0,):
                    return {}
                return dict(connection.execute("SELECT name, state FROM names"))
        except sqlite3.Error:
            return {}

    def save(self, before: Mapping[bytes, bytes], now: Mapping[bytes, bytes]) -> str | None:
        """Write how ``now`` differs from ``before``, which is what it holds; return why that failed, or None."""
        try:
            try:
                self._write(before, now)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                    raise
                self._path.unlink(missing_ok=True)
                self._write({}, now)
        except (sqlite3.Error, OSError) as error:
            return f"{self._path}: cannot be written: {error}; the next start will read every certificate again"
        return None

    def _write(self, before: Mapping[bytes, bytes], now: Mapping[bytes, bytes]) -> None:
        with closing(self._connect()) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            if not before or not self._is_ours(connection):
                before = {}
                self._begin(connection)
            gone = ((name,) for name in before if name not in now)
            connection.executemany("DELETE FROM names WHERE name = ?", gone)
            connection.executemany("REPLACE INTO names VALUES (?, ?)", _changed(before, now))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:  # a damaged file is seen here first
            connection.close()
            raise
        return connection

    def _is_ours(self, connection: sqlite3.Connection) -> bool:
        if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
            return False
        return bool(connection.execute("SELECT directory FROM whose").fetchall() == [(self._directory,)])

    def _begin(self, connection: sqlite3.Connection) -> None:
        for table in ("names", "whose"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute("CREATE TABLE whose (directory BLOB NOT NULL)")
        connection.execute("INSERT INTO whose VALUES (?)", (self._directory,))
        connection.execute("CREATE TABLE names (name BLOB PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _changed(before: Mapping[bytes, bytes], now: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    for name, state in now.items():
        if before.get(name) is not state and before.get(name) != state:
            yield name, state


def _is_damage(error: sqlite3.OperationalError) -> bool:
    return "malformed" in str(error) or "no such" in str(error)
