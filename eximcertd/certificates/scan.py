"""Looks at the directory, whole or at some names in it, and makes a snapshot out of the one before.

A whole look costs one stat for each name, and reads what is new or differs from what is known. Links (and
hard links) come last and are followed once for each file that they lead to.
"""

# Names in a directory are bytes, which pathlib does not take.
# ruff: noqa: PTH114, PTH116, PTH118, PTH208

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.reading import Reader, failed
from eximcertd.certificates.snapshot import Difference, Draft, Snapshot
from eximcertd.certificates.state import AGAIN, IDENTITY, identity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from os import DirEntry

MOST_NAMES: Final = 1_000_000
"""Names in the directory that are looked at."""


class Scanner:
    """Makes snapshots of ``directory``; for one thread at a time."""

    def __init__(self, directory: bytes) -> None:
        self._directory = directory
        self._reader = Reader()

    def whole(self, base: Snapshot, now: float) -> tuple[Snapshot, Difference]:
        """Look at every name. now: seconds on a clock that never goes back. Raises OSError."""
        draft = Draft(base, now)
        known = base.states
        links: list[tuple[bytes, bytes, os.stat_result]] = []
        count = hits = 0
        with os.scandir(self._directory) as entries:
            for entry in _bounded(entries):
                count += 1
                name = entry.name
                old = known.get(name)
                hits += old is not None
                try:
                    status = entry.stat()
                except OSError as error:
                    draft.put(name, failed(error))
                    continue
                head = identity(status)
                if old is not None and old.startswith(head) and old[IDENTITY] < AGAIN and name not in base.lingering:
                    continue
                if _is_shared(status) or entry.is_symlink():
                    links.append((name, head, status))
                else:
                    draft.put(name, self._reader.state(entry.path, status))
        self._follow(draft, links)
        if hits < len(known) or base.lingering:
            listed = set(os.listdir(self._directory))
            for name in known.keys() | base.lingering.keys():
                if name not in listed:
                    draft.put(name, None)
        return draft.finish(cut=count >= MOST_NAMES)

    def some(self, base: Snapshot, names: Collection[bytes], now: float) -> tuple[Snapshot, Difference]:
        """Look at these names; costs nothing for the others. Raises OSError where the directory is not there."""
        os.stat(self._directory)
        draft = Draft(base, now)
        links = []
        for name in names:
            if name in {b"", b".", b".."} or b"/" in name:
                continue
            if name not in base.states and len(draft.states) >= MOST_NAMES:
                continue
            path = self._path(name)
            try:
                status = os.stat(path)
            except OSError as error:
                draft.put(name, failed(error) if os.path.lexists(path) else None)
                continue
            if _is_shared(status) or os.path.islink(path):
                links.append((name, identity(status), status))
            else:
                draft.put(name, self._reader.state(path, status))
        self._follow(draft, links)
        return draft.finish()

    def certificates(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield digest and DER form of each certificate in the file called ``name``. Raises OSError."""
        return Reader().certificates(self._path(name))

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self._directory, name)

    def _follow(self, draft: Draft, links: list[tuple[bytes, bytes, os.stat_result]]) -> None:
        if not links:
            return
        wanted = {head for _, head, _ in links}
        known: dict[bytes, bytes] = {}
        for state in draft.states.values():
            head = state[:IDENTITY]
            if head in wanted and state[IDENTITY] < AGAIN:
                known[head] = state
        for name, head, status in links:
            if head not in known:
                known[head] = self._reader.state(self._path(name), status)
            draft.put(name, known[head])


def _is_shared(status: os.stat_result) -> bool:
    return status.st_nlink > 1 and stat.S_ISREG(status.st_mode)


def _bounded(entries: Iterator[DirEntry[bytes]]) -> Iterator[DirEntry[bytes]]:
    for count, entry in enumerate(entries):
        if count >= MOST_NAMES:
            return
        yield entry
