"""Keeping STATE/allowed in step with the ledger, in every form: open sessions may still use it after a change of form.

The directory says how new it is (allowed_directory.revision): the number of the publication that last changed it. A
ledger with a smaller number is older than the directory, a backup for example. Then no file is removed or made, and the
differences are reported for a person to decide on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from eximcertd.events import Event
from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.publication.allowed_directory import AllowedDirectory

_AT_ONCE: Final = 200  # so many files are made in the loop's thread; more of them in another
_FEW: Final = 20  # so many unknown files are removed without a person
_NAMED: Final = 10


class DirectorySync:
    """The files of the directory. unknown: how many of fingerprints that nobody approved were left for a person."""

    def __init__(self, ledger: Ledger, directory: AllowedDirectory, recorder: Recorder) -> None:
        self._publications = ledger.publications
        self._entries = ledger.entries
        self._directory = directory
        self._recorder = recorder
        self.unknown = 0

    async def reconcile(self) -> None:
        """Make the directory hold the allowlist and nothing else. Raises DirectoryError.

        Files of rejected and revoked fingerprints are removed, however many; of others at most a few without a person.
        Where the directory is newer than those decisions, their files are kept too.
        """
        if self.is_newer():
            return  # what differs is still to be looked at, see ManualEdits.take
        left = await self.contents()
        missing: list[Fingerprint] = []
        for portion in self._publications.each_wanted():
            missing += [fingerprint for fingerprint in portion if fingerprint not in left]
            left.difference_update(portion)
            await asyncio.sleep(0)
        older = self._publications.older_until()
        refused = self._entries.denied(left)
        kept = self._publications.decided_until(refused, older) if older else set()
        if older and not kept:
            self._publications.settle_directory()
        refused -= kept
        unknown = left - refused
        few = len(unknown) <= _FEW and not kept
        self.unknown = 0 if few else len(unknown)
        if left:
            what = "removed" if few else "kept: approve or revoke them"
            self._recorder.record(
                Event.MANUAL_EDIT_FOUND,
                f"{self._directory.path} holds files of fingerprints that are not approved: {len(refused)} rejected or"
                f" revoked, removed; {len(unknown)} unknown, {what}: {names(sorted(left))}",
            )
        await self._change(missing, sorted(left if few else refused))

    async def follow(self, decided: Collection[Fingerprint]) -> None:
        """Make and remove the files of what is being published, and of what was just decided. Raises DirectoryError."""
        add, remove = self._publications.changes()
        wanted = self._publications.wanted_among(decided)
        await self._change([*add, *wanted.difference(add)], [*remove, *set(decided).difference(wanted, remove)])

    async def contents(self) -> set[Fingerprint]:
        """Return what the directory holds. Raises DirectoryError."""
        return (await asyncio.to_thread(self._directory.contents)).fingerprints

    def is_newer(self) -> bool:
        """Tell whether the directory was changed by a publication that the ledger does not know."""
        return self.revision() > self._publications.newest()

    def revision(self) -> int:
        """Return the number of the publication that last changed the directory, 0: none. Raises DirectoryError."""
        return self._directory.revision()

    async def _change(self, add: Sequence[Fingerprint], remove: Sequence[Fingerprint]) -> None:
        if not add and not remove:
            return
        self._directory.set_revision(self._publications.newest())
        if len(add) + len(remove) <= _AT_ONCE:
            self._directory.change(add, remove)
        else:
            await asyncio.to_thread(self._directory.change, add, remove)


def names(fingerprints: Sequence[Fingerprint]) -> str:
    """Return fingerprints for a message, the first few of them."""
    more = f" and {len(fingerprints) - _NAMED} more" if len(fingerprints) > _NAMED else ""
    return ", ".join(grouped(name) for name in fingerprints[:_NAMED]) + more
