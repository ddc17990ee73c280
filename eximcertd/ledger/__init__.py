"""What was seen and what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eximcertd.ledger.clock import RunningTime
from eximcertd.ledger.decisions import Decisions
from eximcertd.ledger.entries import Entries
from eximcertd.ledger.identities import Identities
from eximcertd.ledger.lapses import Lapses
from eximcertd.ledger.publications import Publications
from eximcertd.ledger.sightings import Sightings
from eximcertd.ledger.store import DamagedError, Store, move_aside

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DamagedError", "Ledger", "move_aside"]


class Ledger:
    """The open ledger, by subject. directory: STATE/ledger. Raises LedgerError, DamagedError."""

    def __init__(self, directory: Path, unmatched_limit: int = 10_000) -> None:
        self._store = Store(directory)
        self.sightings: Final = Sightings(self._store, unmatched_limit)
        self.decisions: Final = Decisions(self._store)
        self.publications: Final = Publications(self._store)
        self.identities: Final = Identities(self._store)
        self.entries: Final = Entries(self._store)
        self.lapses: Final = Lapses(self._store)
        self.running_time: Final = RunningTime(self._store)

    def close(self) -> None:
        """Close it; everything is on the disk already."""
        self._store.close()
