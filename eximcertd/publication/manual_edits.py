"""Manual edits of the macro file: what was added is adopted as a decision, what was removed is withheld and reported.

An edit is the difference between the file and what was last published, never to the decisions: after a crash between
deciding and publishing those two differ without an edit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eximcertd.decisions.sources import manual_edit
from eximcertd.events import Event
from eximcertd.publication.directory_sync import names
from eximcertd.publication.form import DIRECTORY, LIST
from eximcertd.status import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from eximcertd.decisions.decide import Decider
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.publication.directory_sync import DirectorySync
    from eximcertd.publish.request import Found


@dataclass(frozen=True, slots=True)
class ManualEdit:
    """added: in the file, in neither list of ours. removed: in both lists of ours, not in the file."""

    added: frozenset[Fingerprint] = frozenset()
    removed: frozenset[Fingerprint] = frozenset()


def difference(
    found: Collection[Fingerprint], confirmed: Collection[Fingerprint], publishing: Collection[Fingerprint]
) -> ManualEdit:
    """Return what was edited in the file that now holds ``found``."""
    stands = frozenset(found)
    return ManualEdit(
        added=stands.difference(confirmed, publishing),
        removed=frozenset(confirmed).intersection(publishing) - stands,
    )


class ManualEdits:
    """Adopts and reports manual edits."""

    def __init__(self, ledger: Ledger, sync: DirectorySync, decider: Decider, recorder: Recorder) -> None:
        self._ledger = ledger
        self._decider = decider
        self._sync = sync
        self._recorder = recorder

    def note_age(self) -> None:
        """Note which decisions are older than the directory, before another one is made. Raises DirectoryError."""
        publications = self._ledger.publications
        if publications.last_confirmed().form and self._sync.is_newer() and not publications.older_until():
            publications.set_older()

    async def take(self, found: Found) -> None:
        """Adopt what was added, withhold and report what was removed. Raises DirectoryError."""
        publications = self._ledger.publications
        first = not publications.last_confirmed().form
        newer = self._sync.is_newer() and found.form == DIRECTORY
        edit, note = ManualEdit(), "found in the macro file"
        if found.digest in publications.written():
            pass  # ours, from an attempt that did not come to its end
        elif found.form == LIST:
            edit = difference(found.fingerprints, publications.confirmed(), publications.publishing())
            if publications.last_confirmed().form != LIST:
                edit = ManualEdit(edit.added)  # an old file, restored: it says nothing of what came later
        elif first or newer:  # a lost ledger, or one that is older than the directory: the directory is what is left
            wanted = publications.wanted()
            edit = difference(await self._sync.contents(), wanted, wanted)
            edit = edit if newer and not first else ManualEdit(edit.added)
            note = "found in the directory, which is newer than the ledger"
        note = "found at the first start" if first else note
        refused = self.adopt(edit.added, note)
        self._withhold(edit.removed)
        if self._sync.is_newer():
            publications.catch_up(self._sync.revision())
            if not first:
                self._report_older(publications.decided_until(refused, publications.older_until()))
            if not newer:
                publications.settle_directory()  # in the list form the file tells who relays

    def adopt(self, added: Iterable[Fingerprint], note: str) -> list[Fingerprint]:
        """Record additions as decisions by hand; return those that are rejected or revoked, which are not adopted."""
        outcome = self._decider.decide(manual_edit(added, note, time.time_ns() // 1_000_000))
        refused = [fingerprint for fingerprint, _ in outcome.refused]
        if refused:
            self._recorder.record(
                Event.MANUAL_EDIT_FOUND, f"Not adopted ({note}), because rejected or revoked before: {names(refused)}"
            )
        return refused

    def _withhold(self, removed: Iterable[Fingerprint]) -> None:
        statuses = self._ledger.entries.statuses(list(removed))  # root may have revoked it while eximcertd was down
        gone = sorted(name for name, (status, *_) in statuses.items() if status is Status.APPROVED)
        if gone:
            self._ledger.decisions.withhold(gone)
            self._recorder.record(
                Event.MANUAL_EDIT_FOUND,
                f"Removed by hand, and not published until approved or revoked: {names(gone)}",
            )

    def _report_older(self, kept: Collection[Fingerprint]) -> None:
        keeps = f" Kept although revoked in the ledger: {names(sorted(kept))}." if kept else ""
        self._recorder.record(
            Event.MANUAL_EDIT_FOUND,
            "The ledger is older than what was published: decisions are missing from it. Nobody was removed from the"
            f" directory and nobody added; approve or revoke what is withheld (eximcertctl status).{keeps}",
        )
