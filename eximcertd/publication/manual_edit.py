"""What a person changed in the macro file: its difference to what was last published. Pure.

Never the difference to the decisions: after a crash between deciding and publishing these two differ
without anybody's hand in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from eximcertd.fingerprint import Fingerprint


@dataclass(frozen=True, slots=True)
class HandEdit:
    """added: in the file, in neither list of ours. removed: in both lists of ours, not in the file."""

    added: frozenset[Fingerprint]
    removed: frozenset[Fingerprint]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def difference(
    found: Collection[Fingerprint], confirmed: Collection[Fingerprint], publishing: Collection[Fingerprint]
) -> HandEdit:
    """Return what a person did to the file in which ``found`` stands."""
    stands = frozenset(found)
    return HandEdit(
        added=stands.difference(confirmed, publishing),
        removed=frozenset(confirmed).intersection(publishing) - stands,
    )
