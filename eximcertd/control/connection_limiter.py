"""How many connections there may be, so that no user can take all of them. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Final


class Rank(Enum):
    """The callers that share one limit. OTHER: those without a right."""

    ROOT = "root"
    APPROVER = "approver"
    READER = "reader"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Bound:
    """Maximum number of connections of this rank: of one user, and in all."""

    each: int
    all: int


BOUNDS: Final = {
    Rank.ROOT: Bound(64, 64),
    Rank.APPROVER: Bound(16, 64),
    Rank.READER: Bound(16, 64),
    Rank.OTHER: Bound(4, 16),
}


@dataclass(slots=True)
class ConnectionLimiter:
    """Counts connections by rank and user."""

    bounds: dict[Rank, Bound] = field(default_factory=lambda: dict(BOUNDS))
    _taken: Counter[tuple[Rank, int]] = field(default_factory=Counter)

    def take(self, rank: Rank, uid: int) -> bool:
        """Count one more connection; False, and nothing is counted, at a limit."""
        bound = self.bounds[rank]
        if self._taken[rank, uid] >= bound.each or self.taken(rank) >= bound.all:
            return False
        self._taken[rank, uid] += 1
        return True

    def leave(self, rank: Rank, uid: int) -> None:
        """Count one connection less."""
        self._taken[rank, uid] -= 1
        if not self._taken[rank, uid]:
            del self._taken[rank, uid]

    def taken(self, rank: Rank) -> int:
        """Return how many connections of a rank there are."""
        return sum(count for (other, _), count in self._taken.items() if other is rank)
