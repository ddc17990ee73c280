"""What a look at the directory found: a value that is never changed, and a draft of the next one.

Readers hold a snapshot while the next one is made in a worker thread; putting it in place is one assignment.
A draft copies the tables of the snapshot that it begins with at the first change (a few milliseconds for
100,000 names) and shares everything in them.

A certificate that a name no longer holds lingers: it counts as there until a look at least GRACE later finds
it missing once more. update-ca-certificates removes 300 links and makes them again, and an editor truncates a
file before it writes it; neither makes a certificate vanish.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.state import DIGEST, HEAD, digests, holds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

GRACE: Final = 2.0
"""Seconds between the look that misses a certificate and the one that confirms it."""

_FEW: Final = 8
_SINGLE: Final = HEAD + DIGEST

Names = bytes | tuple[bytes, ...] | dict[bytes, None]
"""The names that hold one certificate: mostly one, sometimes a few, never a list of thousands to search."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """states: name -> state. files: digest -> names. lingering: name -> digest -> when it was first missing.

    holding: how many names hold a certificate. cut: whether there are more names than are looked at.
    """

    states: dict[bytes, bytes] = field(default_factory=dict)
    files: dict[bytes, Names] = field(default_factory=dict)
    lingering: dict[bytes, dict[bytes, float]] = field(default_factory=dict)
    holding: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """Digests of certificates that one snapshot has and the one before had not, and the other way round."""

    appeared: AbstractSet[bytes] = frozenset()
    vanished: AbstractSet[bytes] = frozenset()


def names_of(names: Names | None) -> tuple[bytes, ...]:
    """Return the names as they are kept for one certificate, one after the other."""
    if names is None:
        return ()
    return (names,) if isinstance(names, bytes) else tuple(names)


class Draft:
    """The next snapshot in the making."""

    def __init__(self, base: Snapshot, now: float) -> None:
        self._base = base
        self._now = now
        self._changed = False
        self._owned: set[bytes] = set()
        self._appeared: set[bytes] = set()
        self._vanished: set[bytes] = set()
        self._holding = base.holding
        self.states = base.states
        self._files = base.files
        self._lingering = base.lingering

    def put(self, name: bytes, state: bytes | None) -> None:
        """Tell what was found under ``name``: its state, or None where the name is gone."""
        old = self.states.get(name)
        if old == state and name not in self._lingering:
            return
        if not self._changed:
            self._changed = True
            self.states, self._files = dict(self.states), dict(self._files)
            self._lingering = dict(self._lingering)
        if state is None:
            self.states.pop(name, None)
        else:
            self.states[name] = state
            self._holding += holds(state)
        now_held = digests(state) if state else []
        if old is None and name not in self._lingering:
            for digest in now_held:
                self._add(digest, name)
            return
        self._holding -= holds(old) if old else 0
        self._compare(name, digests(old) if old else [], now_held)

    def _compare(self, name: bytes, held: list[bytes], now_held: list[bytes]) -> None:
        missing = dict(self._lingering.get(name, {}))
        known = missing.keys() | held
        for digest in now_held:
            if digest not in known:
                self._add(digest, name)
        still = {}
        for digest in known.difference(now_held):
            since = missing.get(digest, self._now)
            if self._now - since >= GRACE:
                self._remove(digest, name)
            else:
                still[digest] = since
        if still:
            self._lingering[name] = still
        else:
            self._lingering.pop(name, None)

    def _add(self, digest: bytes, name: bytes) -> None:
        names = self._files.get(digest)
        if names is None:
            self._files[digest] = name
            if self._base.files and digest not in self._base.files:
                self._appeared.add(digest)
            self._vanished.discard(digest)
        elif isinstance(names, dict):
            self._own(digest, names)[name] = None
        else:
            several = (*names_of(names), name)
            if len(several) <= _FEW:
                self._files[digest] = several
            else:
                self._files[digest] = dict.fromkeys(several)
                self._owned.add(digest)

    def _remove(self, digest: bytes, name: bytes) -> None:
        names = self._files[digest]
        if isinstance(names, dict) and len(names) > 1:
            del self._own(digest, names)[name]
            return
        left = tuple(other for other in names_of(names) if other != name)
        if left:
            self._files[digest] = left if len(left) > 1 else left[0]
            return
        del self._files[digest]
        self._appeared.discard(digest)
        if digest in self._base.files:
            self._vanished.add(digest)

    def _own(self, digest: bytes, names: dict[bytes, None]) -> dict[bytes, None]:
        if digest in self._owned:
            return names
        self._owned.add(digest)
        own = dict(names)
        self._files[digest] = own
        return own

    def finish(self, *, cut: bool | None = None) -> tuple[Snapshot, Difference]:
        """Return the snapshot and how it differs from the one before. cut: as in Snapshot, None: as before."""
        cut = self._base.cut if cut is None else cut
        if not self._changed and cut == self._base.cut:
            return self._base, Difference()
        snapshot = Snapshot(self.states, self._files, self._lingering, self._holding, cut)
        appeared = self._appeared if self._base.files else self._files.keys()
        return snapshot, Difference(appeared, self._vanished)


def restored(states: Mapping[bytes, bytes]) -> Snapshot:
    """Return the snapshot of states that were kept from an earlier run."""
    files: dict[bytes, Names] = {}
    rest = []
    for name, state in states.items():
        if len(state) == _SINGLE and state[HEAD:] not in files:
            files[state[HEAD:]] = name
        else:
            rest.append((name, state))
    simple = dict(states)
    for name, _ in rest:
        del simple[name]
    draft = Draft(Snapshot(simple, files, holding=len(simple)), 0.0)
    for name, state in rest:
        draft.put(name, state)
    return draft.finish()[0]
