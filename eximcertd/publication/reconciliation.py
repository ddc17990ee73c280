"""Keeping what stands in step with the ledger: the directory's files, and a person's hand in the macro file."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from eximcertd.decisions.sources import manual_edit
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint, grouped
from eximcertd.publication.form import LIST
from eximcertd.publication.manual_edit import HandEdit, difference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from eximcertd.decisions.decide import Decider
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.publication.allowed_directory import AllowedDirectory
    from eximcertd.publish.old_request import Found

_AT_ONCE: Final = 200  # so many files are made in the loop itself; more of them in a thread
_FEW: Final = 20  # so many files of nobody's are removed without a person
_NAMED: Final = 10


class Files:
    """The files of the directory form, made and removed as the ledger wants them. strangers: left alone, being many."""

    def __init__(self, ledger: Ledger, directory: AllowedDirectory, recorder: Recorder) -> None:
        self._ledger = ledger
        self._directory = directory
        self._recorder = recorder
        self.strangers = 0

    async def reconcile(self) -> None:
        """Make the directory hold the allowlist and nothing else. Raises DirectoryError.

        Files of fingerprints that a person threw out go, however many; of others never more than a few without a
        person.
        """
        contents = await asyncio.to_thread(self._directory.contents)
        left = set(contents.fingerprints)
        del contents
        missing: list[Fingerprint] = []
        for portion in self._ledger.publications.each_wanted():
            missing += [fingerprint for fingerprint in portion if fingerprint not in left]
            left.difference_update(portion)
            await asyncio.sleep(0)
        out = self._ledger.entries.thrown_out(left)
        unknown = left - out
        few = len(unknown) <= _FEW
        self.strangers = 0 if few else len(unknown)
        if left:
            what = "removed" if few else "left alone, being so many: look at them, then remove them or approve them"
            self._recorder.record(
                Event.HAND_EDIT_FOUND,
                f"{self._directory.path} holds files of nobody approved: {len(out)} of fingerprints that were rejected"
                f" or revoked, removed; {len(unknown)} of others, {what}: {_names(sorted(left))}",
            )
        await self._change(missing, sorted(left if few else out))

    async def follow(self, decided: Collection[Fingerprint]) -> None:
        """Put right the files of what is being published, and of whatever was just decided. Raises DirectoryError."""
        add, remove = self._ledger.publications.changes()
        wanted = self._ledger.publications.wanted_among(decided)
        await self._change([*add, *wanted.difference(add)], [*remove, *set(decided).difference(wanted, remove)])

    async def standing(self) -> frozenset[Fingerprint]:
        """Return what the directory holds. Raises DirectoryError."""
        return (await asyncio.to_thread(self._directory.contents)).fingerprints

    async def _change(self, add: Sequence[Fingerprint], remove: Sequence[Fingerprint]) -> None:
        if len(add) + len(remove) <= _AT_ONCE:
            self._directory.change(add, remove)
        else:
            await asyncio.to_thread(self._directory.change, add, remove)


class ManualEdits:
    """What persons did to the macro file: adopted as decisions, or reported."""

    def __init__(self, ledger: Ledger, files: Files, decider: Decider, recorder: Recorder) -> None:
        self._ledger = ledger
        self._files = files
        self._decider = decider
        self._recorder = recorder

    async def take(self, found: Found) -> None:
        """Adopt what was added to the file, and withhold and report what was removed. Raises DirectoryError."""
        publications = self._ledger.publications
        confirmed = publications.last_confirmed()
        edit = HandEdit(frozenset(), frozenset())
        if found.form == LIST:
            edit = difference(found.fingerprints, publications.confirmed(), publications.publishing())
            if confirmed.form != LIST:
                edit = replace(edit, removed=frozenset())  # an old file, put back: it says nothing of what came after
        elif not confirmed.form:
            edit = replace(edit, added=await self._files.standing())  # a lost ledger knows nothing of these
        self.adopt(edit.added, first=not confirmed.form)
        self._withhold(edit.removed)

    def adopt(self, added: Iterable[Fingerprint], *, first: bool) -> None:
        """Record what stands there as decisions by hand, except of those whom a person threw out."""
        note = "stood there at the first start" if first else "found in the macro file"
        outcome = self._decider.decide(manual_edit(added, note, time.time_ns() // 1_000_000))
        refused = [fingerprint for fingerprint, _ in outcome.refused]
        if refused:
            self._recorder.record(
                Event.HAND_EDIT_FOUND,
                f"Put into the macro file by hand though rejected or revoked, and removed again: {_names(refused)}",
            )

    def _withhold(self, removed: Iterable[Fingerprint]) -> None:
        gone = sorted(removed)
        if gone:
            self._ledger.decisions.withhold(gone)
            self._recorder.record(
                Event.HAND_EDIT_FOUND,
                f"Taken out of the macro file by hand, to be settled by approve or revoke: {_names(gone)}",
            )


def _names(fingerprints: Sequence[Fingerprint]) -> str:
    more = f" and {len(fingerprints) - _NAMED} more" if len(fingerprints) > _NAMED else ""
    return ", ".join(grouped(name) for name in fingerprints[:_NAMED]) + more
