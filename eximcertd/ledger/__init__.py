"""The ledger: the database of sightings and decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.errors import LedgerError
from eximcertd.ledger.authorities import Authorities
from eximcertd.ledger.clock import RunningTime
from eximcertd.ledger.decisions import Decisions
from eximcertd.ledger.denials import Denials
from eximcertd.ledger.entries import Entries
from eximcertd.ledger.identities import Identities
from eximcertd.ledger.lapses import Lapses
from eximcertd.ledger.publications import Publications
from eximcertd.ledger.shown import ShownCertificates
from eximcertd.ledger.sightings import Sightings
from eximcertd.ledger.store import DamagedError, Store, move_aside

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.ledger.fleet import FleetActs

__all__ = ["DamagedError", "Ledger", "move_aside", "open_ledger"]


class Ledger:
    """The open ledger, by subject. directory: STATE/ledger. Raises LedgerError, DamagedError."""

    def __init__(self, directory: Path, unmatched_limit: int = 10_000) -> None:
        self._store = Store(directory)
        self.shown: Final = ShownCertificates(self._store)
        self.sightings: Final = Sightings(self._store, self.shown, unmatched_limit)
        self.decisions: Final = Decisions(self._store)
        self.publications: Final = Publications(self._store)
        self.identities: Final = Identities(self._store)
        self.entries: Final = Entries(self._store)
        self.lapses: Final = Lapses(self._store)
        self.authorities: Final = Authorities(self._store)
        self.denials: Final = Denials(self._store)
        self.running_time: Final = RunningTime(self._store)
        self.fleet: FleetActs | None = None

    def join_fleet(self, relay: str | None) -> None:
        """Be this relay of a fleet, or of none (None): then nothing about a fleet is stored. Raises LedgerError."""
        if relay is None:
            with self._store.transaction() as db:
                db.execute("UPDATE fleet SET member = 0 WHERE member = 1")
            return
        from eximcertd.ledger.fleet import FleetActs  # noqa: PLC0415 - nothing of a fleet is imported without one

        self.fleet = FleetActs(self._store, relay)

    def close(self) -> None:
        """Close it; everything is synced already."""
        self._store.close()


@dataclass(frozen=True, slots=True)
class Damage:
    """The damage of a ledger that was renamed. message: for people, with its new name."""

    aside: Path
    message: str


def open_ledger(directory: Path, unmatched_limit: int) -> tuple[Ledger, Damage | None]:
    """Open the ledger; a damaged one is moved aside, and a new one begun. Raises LedgerError."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise LedgerError(
            f"{directory}: the ledger's directory cannot be made: {error.strerror}",
            hint="[state] directory must exist; below it, ledger/ and allowed/ must belong to eximcertd's user.",
        ) from error
    try:
        return Ledger(directory, unmatched_limit), None
    except DamagedError as error:
        aside = move_aside(directory)
        message = (
            f"{error.message}. It is kept as {aside}; a new one is made from what Exim honours now. Rejections,"
            " revocations and history are in the old file only."
        )
        return Ledger(directory, unmatched_limit), Damage(aside, message)
