"""Fingerprint -> certificate and the files it lies in, over a directory that others rewrite."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import threading
import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import nsmallest
from typing import TYPE_CHECKING, Final, TypeVar

from eximcertd.certificates.cache import Cache
from eximcertd.certificates.details import Details
from eximcertd.certificates.names import values
from eximcertd.certificates.scan import MOST_NAMES, Scanner
from eximcertd.certificates.snapshot import Draft, Snapshot, names_of
from eximcertd.certificates.state import REASONS, digests, finding, holds
from eximcertd.fingerprint import Fingerprint, is_exact
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from eximcertd.certificates.certificate import Certificate

T = TypeVar("T")

_NOTHING: Final[frozenset[bytes]] = frozenset()


class Fingerprints(AbstractSet[Fingerprint]):
    """A set of fingerprints over digests that it shares with the index, so that 100,000 of them need no memory."""

    def __init__(self, digests: AbstractSet[bytes] = _NOTHING) -> None:
        self._digests = digests

    @classmethod
    def _from_iterable(cls, it: Iterable[T]) -> AbstractSet[T]:
        return frozenset(it)

    def __contains__(self, fingerprint: object) -> bool:
        return isinstance(fingerprint, str) and is_exact(fingerprint) and bytes.fromhex(fingerprint) in self._digests

    def __iter__(self) -> Iterator[Fingerprint]:
        return (Fingerprint(digest.hex().upper()) for digest in self._digests)

    def __len__(self) -> int:
        return len(self._digests)


@dataclass(frozen=True, slots=True)
class CertificateChanges:
    """What a look at the directory found: certificates that are new, and that are gone."""

    appeared: AbstractSet[Fingerprint]
    vanished: AbstractSet[Fingerprint]

    def __bool__(self) -> bool:
        return bool(self.appeared or self.vanished)


@dataclass(frozen=True, slots=True)
class CertificateCounts:
    """files: names that hold a certificate. distinct: certificates. skipped: names that hold none."""

    files: int
    distinct: int
    skipped: int


class Index:
    """The certificates in ``directory``. cache: the file that keeps what was found for the next start, or None.

    ``restore``, ``refresh`` and ``save`` are called in a worker thread, one at a time. Everything else may be called
    from any thread at any time, and answers from what the last look found; ``details`` reads the files that it needs.
    """

    def __init__(self, directory: Path, cache: Path | None = None) -> None:
        self.directory = directory
        self.problem: str | None = None
        """Why the directory cannot be read, while what was found before is kept; or None."""
        self.cache_problem: str | None = None
        """Why the cache cannot be written, or None."""
        name = os.fsencode(directory)
        self._scanner = Scanner(name)
        self._details = Details(self._scanner.certificates, name)
        self._cache = Cache(cache, name) if cache is not None else None
        self._snapshot = Snapshot()
        self._kept: dict[bytes, bytes] = {}
        self._looking = threading.Lock()

    def restore(self) -> None:
        """Begin with what the cache kept; the next whole ``refresh`` corrects what has changed since."""
        if self._cache is None:
            return
        with self._looking:
            draft = Draft(Snapshot(), 0.0)
            for name, state in self._cache.load().items():
                draft.put(name, state)
            self._snapshot, _ = draft.finish()
            self._kept = self._snapshot.states

    def refresh(self, names: Collection[bytes] | None = None) -> CertificateChanges:
        """Look at the directory, or only at these names in it; costs what changed. Raises nothing for the directory.

        A certificate vanishes only when a look GRACE after the first one that missed it misses it again.
        """
        with self._looking:
            now = time.monotonic()
            try:
                if names is None:
                    snapshot, difference = self._scanner.whole(self._snapshot, now)
                else:
                    snapshot, difference = self._scanner.some(self._snapshot, names, now)
            except OSError as error:
                why = error.strerror or str(error)
                self.problem = (
                    f"{clean(str(self.directory))}: the certificate directory cannot be read: {why}; "
                    "make it readable for eximcertd's user"
                )
                return CertificateChanges(Fingerprints(), Fingerprints())
            self.problem = None
            self._snapshot = snapshot
            return CertificateChanges(Fingerprints(difference.appeared), Fingerprints(difference.vanished))

    def save(self) -> None:
        """Write the cache, if anything has changed since the last time; ``cache_problem`` tells a failure."""
        if self._cache is None:
            return
        with self._looking:
            states = self._snapshot.states
            if states is self._kept:
                return
            self.cache_problem = self._cache.save(states)
            if self.cache_problem is None:
                self._kept = states

    def unsettled(self) -> frozenset[bytes]:
        """Return the names that hold less than before and wait for a second look."""
        return frozenset(self._snapshot.lingering)

    def __contains__(self, fingerprint: object) -> bool:
        return (
            isinstance(fingerprint, str)
            and is_exact(fingerprint)
            and bytes.fromhex(fingerprint) in self._snapshot.files
        )

    def __iter__(self) -> Iterator[Fingerprint]:
        return iter(Fingerprints(self._snapshot.files.keys()))

    def __len__(self) -> int:
        return len(self._snapshot.files)

    def starting_with(self, prefixes: Iterable[str]) -> list[Fingerprint]:
        """Return the fingerprints whose first eight digits are those of one of the prefixes (upper-case hex).

        One pass over the digests, 0.1 s for a million; belongs into a worker thread.
        """
        heads = {bytes.fromhex(prefix[:8]) for prefix in prefixes}
        return [Fingerprint(digest.hex().upper()) for digest in self._snapshot.files if digest[:4] in heads]

    def files(self, fingerprint: Fingerprint) -> list[Path]:
        """Return the files that hold it, sorted."""
        names = names_of(self._snapshot.files.get(bytes.fromhex(fingerprint)))
        return [self.directory / os.fsdecode(name) for name in sorted(names)]

    def mentioning(self, name: str, most: int, seconds: float) -> tuple[list[Fingerprint], bool]:
        """Return certificates that may have this name or lie in a file of this name, and whether all were looked at.

        It ends after ``seconds``, or with ``most`` of them. Reading a file takes 50 us, parsing its certificate twenty
        times as long: only the bytes are searched. Belongs into a worker thread.
        """
        found: dict[bytes, None] = {}
        part, address, end = max(values(name), key=len).casefold(), _address(name), time.monotonic() + seconds
        for one, state in self._snapshot.states.items():
            if len(found) >= most or time.monotonic() > end:
                return [Fingerprint(digest.hex().upper()) for digest in found][:most], False
            if holds(state) and os.fsdecode(one).casefold() == name.casefold():
                found.update(dict.fromkeys(digests(state)))
            elif holds(state) and part:
                with contextlib.suppress(OSError):  # gone or changed since the last look
                    for digest, der in self._scanner.certificates(one):
                        if part in _text(der) or (address and address in der):
                            found[digest] = None
        return [Fingerprint(digest.hex().upper()) for digest in found], True

    def details(self, fingerprint: Fingerprint) -> Certificate | None:
        """Return the certificate, read and parsed; None if no file holds it."""
        return self.details_of((fingerprint,)).get(fingerprint)

    def details_of(self, fingerprints: Iterable[Fingerprint]) -> dict[Fingerprint, Certificate]:
        """Return those of the certificates that are found; each file is read at most once."""
        files = self._snapshot.files
        wanted = {digest: tuple(names_of(files.get(digest))) for digest in map(bytes.fromhex, fingerprints)}
        return self._details.of({digest: names for digest, names in wanted.items() if names})

    def der(self, fingerprint: Fingerprint) -> bytes | None:
        """Return the DER form of the certificate, read from its file; None if no file holds it."""
        wanted = bytes.fromhex(fingerprint)
        for name in names_of(self._snapshot.files.get(wanted)):
            with contextlib.suppress(OSError):  # gone or changed since the last look
                for digest, der in self._scanner.certificates(name):
                    if digest == wanted:
                        return der
        return None

    def counts(self) -> CertificateCounts:
        """Return how many files and certificates there are."""
        snapshot = self._snapshot
        holding = sum(map(holds, snapshot.states.values()))
        return CertificateCounts(holding, len(snapshot.files), len(snapshot.states) - holding)

    def skipped(self, most: int = 1000) -> list[tuple[str, str]]:
        """Return (file name, reason as a clause) of the first ``most`` names that were skipped, sorted.

        The names are unescaped. A directory with too many names has an entry of its own.
        """
        snapshot = self._snapshot
        found = ((name, REASONS.get(finding(state))) for name, state in snapshot.states.items())
        listed = nsmallest(most, ((os.fsdecode(name), why) for name, why in found if why))
        if snapshot.cut:
            listed.append((str(self.directory), f"holds more than {MOST_NAMES} names; the rest is skipped"))
        return listed


def _text(der: bytes) -> str:
    """Return the text in the bytes of a certificate, case-folded; UTF-16 without its zeros."""
    return der.decode("utf-8", "ignore").replace("\0", "").casefold()


def _address(name: str) -> bytes:
    """Return the bytes of an IP address, as certificates hold it; none of another name."""
    try:
        return ipaddress.ip_address(name).packed
    except ValueError:
        return b""
