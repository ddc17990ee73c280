"""A follower with a real ledger, to be run in a process that is killed."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from eximcertd.intake import _attempts
from eximcertd.ledger import Ledger
from eximcertd.log.follow import Follower
from eximcertd.log.line import Grammar

if TYPE_CHECKING:
    from eximcertd.log.source import Batch


def follow(log: str, ledger_directory: str, floor: float = 0.05) -> None:
    """Follow a log into a ledger until killed."""
    ledger = Ledger(Path(ledger_directory))

    def deliver(batch: Batch) -> None:
        ledger.sightings.record(
            "file",
            batch.position,
            [_attempts(sighting) for sighting in batch.sightings],
            known=lambda _: True,
            segments=[(segment.key, "{}") for segment in batch.segments],
            now=time.time_ns() // 1_000_000,
        )

    Follower(Path(log), Grammar(), ledger.sightings.position("file"), floor=floor).run(deliver)


def counted(ledger_directory: Path) -> dict[str, int]:
    """Return what a ledger has counted: fingerprint -> attempts."""
    database = ledger_directory / "ledger.sqlite"
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            return dict(db.execute("SELECT fingerprint, attempts FROM entry").fetchall())
    except sqlite3.OperationalError:
        return {}  # it is not made yet
