"""A follower with a real ledger, to be run in a process that is killed."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from eximcertd.ledger import Ledger
from eximcertd.log.line import Grammar
from eximcertd.log.tailer import Tailer


def follow(log: str, ledger_directory: str, floor: float = 0.05) -> None:
    """Follow a log into a ledger until killed."""
    ledger = Ledger(Path(ledger_directory))

    files = list(ledger.sightings.files().values())
    tailer = Tailer(Path(log), Grammar(), ledger.sightings.position("file"), files, floor=floor)
    for batch in tailer.batches():
        ledger.sightings.record(
            "file",
            batch.position,
            batch.sightings,
            known=lambda _: True,
            files=batch.files,
            now=time.time_ns() // 1_000_000,
        )


def counted(ledger_directory: Path) -> dict[str, int]:
    """Return what a ledger has counted: fingerprint -> attempts."""
    database = ledger_directory / "ledger.sqlite"
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            return dict(db.execute("SELECT fingerprint, attempts FROM entry").fetchall())
    except sqlite3.OperationalError:
        return {}  # it is not made yet
