"""Fingerprint -> certificate and the files it lies in, over a directory that others rewrite. (A skeleton.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.fingerprint import Fingerprint


@dataclass(frozen=True, slots=True)
class Changes:
    """What a look at the directory changed: fingerprints that were not there before, and that are gone."""

    appeared: AbstractSet[Fingerprint]
    vanished: AbstractSet[Fingerprint]


@dataclass(frozen=True, slots=True)
class Counts:
    """files: that hold a certificate. distinct: certificates. passed_over: files that hold none."""

    files: int
    distinct: int
    passed_over: int


class Index:
    """The certificates in ``directory``. cache: file that keeps what was found for the next start, or None.

    ``refresh`` and ``save`` belong into a worker thread; everything else answers at once, from any thread,
    from what the last ``refresh`` found; ``details`` reads and parses the files of what it is asked for.
    """

    problem: str | None
    """Why the directory, or the cache, cannot be used at present; what was found before still stands."""

    def __init__(self, directory: Path, cache: Path | None = None) -> None:
        raise NotImplementedError

    def refresh(self, names: Collection[bytes] | None = None) -> Changes:
        """Look at the directory, or only at these names in it; costs what changed."""
        raise NotImplementedError

    def save(self) -> None:
        """Write what changed since the last time into the cache."""
        raise NotImplementedError

    def __contains__(self, fingerprint: object) -> bool:
        raise NotImplementedError

    def files(self, fingerprint: Fingerprint) -> list[Path]:
        """Return the files that hold it, sorted; empty where none does."""
        raise NotImplementedError

    def details(self, fingerprint: Fingerprint) -> Certificate | None:
        """Return the certificate, read and parsed; None where no file holds it."""
        raise NotImplementedError

    def details_of(self, fingerprints: Iterable[Fingerprint]) -> dict[Fingerprint, Certificate]:
        """Return the certificates of many fingerprints, each file read once."""
        raise NotImplementedError

    def counts(self) -> Counts:
        """Return how many files and certificates there are."""
        raise NotImplementedError

    def passed_over(self, most: int = 1000) -> list[tuple[str, str]]:
        """Return (file name, reason) of files that were passed over, sorted, at most ``most``."""
        raise NotImplementedError
