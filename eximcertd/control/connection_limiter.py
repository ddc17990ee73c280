"""How many connections there may be: nobody can take all of them away from everybody else. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Final


class Rank(Enum):
    """Whose seats a connection is counted among."""

    ROOT = "root"
    APPROVER = "approver"
    READER = "reader"
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Bound:
    """Most connections of this rank: of one user, and in all."""

    each: int
    all: int


BOUNDS: Final = {
    Rank.ROOT: Bound(64, 64),
    Rank.APPROVER: Bound(16, 64),
    Rank.READER: Bound(16, 64),
    Rank.STRANGER: Bound(4, 16),
}


@dataclass(slots=True)
class ConnectionLimiter:
    """Who is connected: rank and user -> connections."""

    bounds: dict[Rank, Bound] = field(default_factory=lambda: dict(BOUNDS))
    _taken: Counter[tuple[Rank, int]] = field(default_factory=Counter)

    def take(self, rank: Rank, uid: int) -> bool:
        """Take a seat; False where there is none left."""
        bound = self.bounds[rank]
        if self._taken[rank, uid] >= bound.each or self.taken(rank) >= bound.all:
            return False
        self._taken[rank, uid] += 1
        return True

    def leave(self, rank: Rank, uid: int) -> None:
        """Give a seat back."""
        self._taken[rank, uid] -= 1
        if not self._taken[rank, uid]:
            del self._taken[rank, uid]

    def taken(self, rank: Rank) -> int:
        """Return how many seats of a rank are taken."""
        return sum(count for (other, _), count in self._taken.items() if other is rank)
