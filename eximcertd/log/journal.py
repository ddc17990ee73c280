"""Following Exim in systemd's journal: the same lines, logged by syslog.

The position is the journal's own cursor. Every user of the machine can log under Exim's name; as in a file, an entry
is a hint and no proof.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eximcertd.errors import EximcertdError
from eximcertd.log.aggregator import Aggregator
from eximcertd.log.source import Batch, Progress
from eximcertd.log.syslog import SyslogEntries
from eximcertd.log.zone import zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.log.line import Grammar

USUAL_NAME: Final = "exim"
"""Exim's default of ``syslog_processname``."""
VERSION: Final = 1
_PIECE: Final = 500
_FAR: Final = 20_000
_LONG: Final = 60.0
_GATHER: Final = 0.02
_FLOOR_MS: Final = 10_000
_PAUSE: Final = 5.0
_PLACES: Final = (Path("/var/log/journal"), Path("/run/log/journal"))


class JournalSource:
    """A source that follows the journal. directory: of journal files, None for this machine's own.

    position: what the last batch told; None: from the journal's beginning. name: under which Exim logs
    (``syslog_processname``); names: all that are looked for. timezone: Exim's option. Raises EximcertdError without
    systemd-python, or if the position cannot be understood.
    """

    def __init__(
        self,
        grammar: Grammar,
        position: str | None = None,
        *,
        name: str = USUAL_NAME,
        timezone: str = "",
        directory: Path | None = None,
    ) -> None:
        self.timezone = timezone
        self.names = tuple(dict.fromkeys((name, USUAL_NAME, "exim4")))
        self._journal = _library()
        self._directory = directory
        self._aggregator = Aggregator(grammar, zone_of(timezone))
        self._entries = SyslogEntries(grammar, self._aggregator)
        self._cursor = self._restore(position)
        self._stopped = threading.Event()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._moved = 0
        self._delivered_at = time.monotonic()
        self._last: datetime | None = None
        self._problem: str | None = None
        self._beat = self._lines = 0

    def batches(self) -> Iterator[Batch]:
        """Follow the journal until ``stop``."""
        while not self._stopped.is_set():
            try:
                with self._open() as reader:
                    self._problem = self._unreadable()
                    yield from self._follow(reader)
            except OSError as error:
                self._problem = f"the journal cannot be read: {error.strerror or error}; trying again"
                self._beat += 1
                self._stopped.wait(_PAUSE)
        if self._moved:
            yield self._batch()

    def stop(self) -> None:
        """Make ``run`` return."""
        self._stopped.set()
        os.write(self._wake_writer, b".")

    def progress(self) -> Progress:
        """Tell how far it is; the journal counts no bytes."""
        return Progress("journal", 0, 0, self._last, self._problem, self._beat, self._lines)

    def _open(self) -> Any:
        """Return the journal, before the first entry that was not read yet."""
        converters = {"MESSAGE": bytes, "__REALTIME_TIMESTAMP": int, "SYSLOG_PID": bytes, "_PID": bytes}
        reader = self._journal.Reader(path=str(self._directory) if self._directory else None, converters=converters)
        for identifier in self.names:
            reader.add_match(SYSLOG_IDENTIFIER=identifier)
        if self._cursor is None:
            reader.seek_head()
        else:
            reader.seek_cursor(self._cursor)
            entry = reader.get_next()
            if entry and entry["__CURSOR"] != self._cursor:  # its entry is gone by now: this is the next one
                self._take(entry)
        return reader

    def _follow(self, reader: Any) -> Iterator[Batch]:
        poll = select.poll()
        poll.register(reader.fileno(), reader.get_events())
        poll.register(self._wake_reader, select.POLLIN)
        while not self._stopped.is_set():
            yield from self._read(reader)
            self._stopped.wait(_GATHER)
            timeout = reader.get_timeout_ms()
            poll.poll(min(timeout, _FLOOR_MS) if timeout >= 0 else _FLOOR_MS)
            reader.process()

    def _read(self, reader: Any) -> Iterator[Batch]:
        """Read all new entries."""
        self._beat += 1
        while not self._stopped.is_set() and (entry := reader.get_next()):
            self._take(entry)
            if self._moved % _PIECE == 0:
                self._beat += 1
                if self._aggregator or self._moved >= _FAR:
                    yield self._batch()
        if self._aggregator or (self._moved and time.monotonic() - self._delivered_at > _LONG):
            yield self._batch()

    def _take(self, entry: dict[str, Any]) -> None:
        self._moved += 1
        self._lines += 1
        self._cursor = entry["__CURSOR"]
        message = entry.get("MESSAGE")
        at = datetime.fromtimestamp(entry["__REALTIME_TIMESTAMP"] / 1e6, UTC)
        self._last = at
        if isinstance(message, bytes):
            self._entries.read(message, _number(entry.get("SYSLOG_PID")) or _number(entry.get("_PID")), at)

    def _batch(self) -> Batch:
        position = {"version": VERSION, "cursor": self._cursor, "parts": self._entries.parts()}
        self._moved, self._delivered_at = 0, time.monotonic()
        return Batch(self._aggregator.take(), json.dumps(position))

    def _restore(self, position: str | None) -> str | None:
        if position is None:
            return None
        try:
            value = json.loads(position)
            if value["version"] == VERSION:
                self._entries.restore(value["parts"])
                return str(value["cursor"])
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # said below
        raise EximcertdError(
            "the journal's position in the ledger cannot be understood",
            hint="It was written by another version of eximcertd, or the ledger is damaged: use that version, or"
            " restore the ledger.",
        )

    def _unreadable(self) -> str | None:
        if self._directory is not None or any(os.access(place, os.R_OK | os.X_OK) for place in _PLACES):
            return None
        return "the journal cannot be read: there is none, or eximcertd is not in the group systemd-journal"


def _library() -> Any:
    try:
        return importlib.import_module("systemd.journal")  # an optional library
    except ImportError as error:
        raise EximcertdError(
            '[log] source = "journal" needs the Python library systemd',
            hint='Install python3-systemd (from PyPI: systemd-python), or set [log] source = "file".',
        ) from error


def _number(field: Any) -> int:
    text = field[0] if isinstance(field, list) and field else field
    return int(text) if isinstance(text, bytes) and text.isdigit() and len(text) < len(b"12345678901") else 0
