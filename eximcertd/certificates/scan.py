"""Looks at the directory, at all names in it or at some, and makes a snapshot out of the previous one.

A whole look costs one stat for each name, and reads what is new or has changed. Links (and hard links) come last and
are read once for each file that they lead to.
"""

# Names in a directory are bytes, which pathlib does not take.
# ruff: noqa: PTH114, PTH116, PTH118, PTH208

from __future__ import annotations

import os
import stat
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from eximcertd.certificates import reading
from eximcertd.certificates.snapshot import Difference, Draft, Snapshot
from eximcertd.certificates.state import AGAIN, FILE, IDENTITY, NOWHERE, identity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

MOST_NAMES: Final = 1_000_000
"""Maximum number of names in the directory that are looked at."""


class _Entry(Protocol):
    """What os.DirEntry and _Name have in common."""

    @property
    def name(self) -> bytes: ...
    @property
    def path(self) -> bytes: ...
    def stat(self) -> os.stat_result: ...
    def is_symlink(self) -> bool: ...


class _Name:
    def __init__(self, directory: bytes, name: bytes) -> None:
        self.name = name
        self.path = os.path.join(directory, name)

    def stat(self) -> os.stat_result:
        return os.stat(self.path)

    def is_symlink(self) -> bool:
        return os.path.islink(self.path)


class Scanner:
    """Makes snapshots of ``directory``; for one thread at a time."""

    def __init__(self, directory: bytes) -> None:
        self._directory = directory

    def whole(self, base: Snapshot, now: float) -> tuple[Snapshot, Difference]:
        """Look at every name. now: seconds on a clock that never goes back. Raises OSError."""
        draft = Draft(base, now)
        with os.scandir(self._directory) as entries:
            count, known = self._look(draft, base, islice(entries, MOST_NAMES))
        if known < len(base.states) or base.lingering:
            listed = set(os.listdir(self._directory))
            for name in base.states.keys() | base.lingering.keys():
                if name not in listed:
                    draft.put(name, None)
        return draft.finish(cut=count >= MOST_NAMES)

    def some(self, base: Snapshot, names: Collection[bytes], now: float) -> tuple[Snapshot, Difference]:
        """Look at these names, and at links to their files. Raises OSError where the directory does not exist.

        OpenSSL needs such links (openssl-rehash(1)). For the others it costs nothing but the search in memory.
        """
        os.stat(self._directory)
        files = {base.states[name][:FILE] for name in names if name in base.states} - {NOWHERE[:FILE]}
        if files:
            names = {*names, *(name for name, state in base.states.items() if state[:FILE] in files)}
        draft = Draft(base, now)
        space = MOST_NAMES - len(base.states)
        wanted = [name for name in names if name not in {b"", b".", b".."} and b"/" not in name]
        known = [name for name in wanted if name in base.states or name in base.lingering]
        fresh = [name for name in wanted if name not in base.states and name not in base.lingering]
        self._look(draft, base, [_Name(self._directory, name) for name in (*known, *fresh[: max(space, 0)])])
        return draft.finish()

    def certificates(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield digest and DER form of each certificate in the file called ``name``. Raises OSError."""
        return reading.certificates(os.path.join(self._directory, name))

    def _look(self, draft: Draft, base: Snapshot, entries: Iterable[_Entry]) -> tuple[int, int]:
        """Put what the entries are into the draft; return how many there are, and how many were known."""
        count = known = 0
        links: list[tuple[_Entry, bytes, os.stat_result]] = []
        for entry in entries:
            name = entry.name
            old = base.states.get(name)
            count, known = count + 1, known + (old is not None)
            try:
                status = entry.stat()
            except OSError as error:
                draft.put(name, reading.failed(error) if os.path.lexists(entry.path) else None)
                continue
            head = identity(status)
            if old is not None and old.startswith(head) and old[IDENTITY] < AGAIN and name not in base.lingering:
                continue
            if (status.st_nlink > 1 and stat.S_ISREG(status.st_mode)) or entry.is_symlink():
                links.append((entry, head, status))
            else:
                draft.put(name, reading.state(entry.path, status))
        self._follow(draft, links)
        return count, known

    def _follow(self, draft: Draft, links: list[tuple[_Entry, bytes, os.stat_result]]) -> None:
        """Put what links lead to into the draft; a file is read once, whatever its names are."""
        wanted = {head for _, head, _ in links}
        known = {}
        if wanted:
            for state in draft.states.values():
                if state[:IDENTITY] in wanted and state[IDENTITY] < AGAIN:
                    known[state[:IDENTITY]] = state
        for entry, head, status in links:
            if head not in known:
                known[head] = reading.state(entry.path, status)
            draft.put(entry.name, known[head])
