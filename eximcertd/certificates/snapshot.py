"""The result of a look at the directory: a value that is never changed, and a draft of the next one.

Readers hold a snapshot while a worker thread makes the next one; it is put in place by one assignment. A draft copies
the tables of the snapshot that it begins with at its first change, and shares everything in them.

A certificate that a name no longer holds lingers: it counts as present until a look at least GRACE later misses it
again. update-ca-certificates removes 300 links and makes them again, and an editor truncates a file before it writes
it; neither makes a certificate vanish.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.state import digests

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

GRACE: Final = 2.0
"""Seconds between the look that misses a certificate and the one that confirms it."""

Names = bytes | set[bytes]
"""The names that hold one certificate: mostly one, for which no set is made."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """states: name -> state. files: digest -> names. lingering: name -> digest -> when it was first missed.

    cut: whether there are more names than are looked at.
    """

    states: dict[bytes, bytes] = field(default_factory=dict)
    files: dict[bytes, Names] = field(default_factory=dict)
    lingering: dict[bytes, dict[bytes, float]] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """Digests of certificates that one snapshot has and the previous one had not, and the reverse."""

    appeared: AbstractSet[bytes] = frozenset()
    vanished: AbstractSet[bytes] = frozenset()


def names_of(names: Names | None) -> Iterable[bytes]:
    """Return the names that hold one certificate."""
    if names is None:
        return ()
    return (names,) if isinstance(names, bytes) else names


class Draft:
    """The next snapshot in the making. now: seconds on a clock that never goes back."""

    def __init__(self, base: Snapshot, now: float) -> None:
        self._base = base
        self._now = now
        self._touched: set[bytes] = set()
        self._own: set[bytes] = set()  # digests whose set of names this draft may change
        self.states = base.states
        self._files = base.files
        self._lingering = base.lingering

    def put(self, name: bytes, state: bytes | None) -> None:
        """Record what was found under ``name``: its state, or None where the name is gone."""
        old = self.states.get(name)
        if old == state and name not in self._lingering:
            return
        if self.states is self._base.states:
            self.states, self._files, self._lingering = dict(self.states), dict(self._files), dict(self._lingering)
        if state is None:
            self.states.pop(name, None)
        else:
            self.states[name] = state
        held = digests(state) if state else []
        missing = self._lingering.pop(name, {})
        known = {*missing, *digests(old)} if old else missing.keys()
        for digest in held:
            if digest not in known:
                self._add(digest, name)
        still = {}
        for digest in known - set(held) if known else ():
            since = missing.get(digest, self._now)
            if self._now - since >= GRACE:
                self._remove(digest, name)
            else:
                still[digest] = since
        if still:
            self._lingering[name] = still

    def _add(self, digest: bytes, name: bytes) -> None:
        if digest in self._files:
            self._names(digest).add(name)
        else:
            self._files[digest] = name
            self._touch(digest)

    def _remove(self, digest: bytes, name: bytes) -> None:
        names = self._names(digest)
        names.discard(name)
        if not names:
            del self._files[digest]
            self._touch(digest)

    def _names(self, digest: bytes) -> set[bytes]:
        """Return the names that hold a certificate, as a set that belongs to this draft."""
        names = self._files[digest]
        if isinstance(names, bytes) or digest not in self._own:
            names = set(names_of(names))
            self._files[digest] = names
            self._own.add(digest)
        return names

    def _touch(self, digest: bytes) -> None:
        if self._base.files:  # else everything has appeared
            self._touched.add(digest)

    def finish(self, *, cut: bool | None = None) -> tuple[Snapshot, Difference]:
        """Return the snapshot and how it differs from the previous one. cut: as in Snapshot, None: as before."""
        base = self._base
        cut = base.cut if cut is None else cut
        if self.states is base.states and cut == base.cut:
            return base, Difference()
        snapshot = Snapshot(self.states, self._files, self._lingering, cut)
        if not base.files:
            return snapshot, Difference(self._files.keys())
        appeared = {digest for digest in self._touched if digest in self._files and digest not in base.files}
        vanished = {digest for digest in self._touched if digest not in self._files and digest in base.files}
        return snapshot, Difference(appeared, vanished)
