"""The certificate of a fingerprint: from the directory, else what its client has shown in a refused attempt."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from eximcertd.certificates import parsing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Mapping, Sequence

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.certificates.index import Index
    from eximcertd.fingerprint import Fingerprint

    Shown = Callable[[Collection[Fingerprint]], Mapping[Fingerprint, tuple[bytes, str]]]

KEPT: Final = 1024
_parse = lru_cache(KEPT)(parsing.parse)


class CertificateLookup:
    """For use in the loop. shown: returns the DER form (and more) of those that clients have shown."""

    def __init__(self, index: Index, shown: Shown) -> None:
        self.index: Final = index
        self._shown = shown

    async def of(self, fingerprints: Sequence[Fingerprint]) -> dict[Fingerprint, Certificate]:
        """Return those of the certificates that are known; files are read, and certificates parsed, in a thread."""
        found = await asyncio.to_thread(self.index.details_of, fingerprints)
        shown = self._others(fingerprints, found)
        return {**found, **await asyncio.to_thread(_parsed, shown)} if shown else found

    def now(self, fingerprints: Sequence[Fingerprint]) -> dict[Fingerprint, Certificate]:
        """Return the same at once, for few."""
        found = self.index.details_of(fingerprints)
        return {**found, **_parsed(self._others(fingerprints, found))}

    async def subjects(self, fingerprints: Sequence[Fingerprint]) -> dict[Fingerprint, str]:
        """Return the subjects of those that are known. A tenth of the time of ``of``: nothing else is parsed."""
        known = [one for one in fingerprints if one in self.index]
        found = await asyncio.to_thread(lambda: {one: self.index.der(one) for one in known})
        shown = self._others(fingerprints, {one: der for one, der in found.items() if der})
        ders = {**found, **{one: der for one, (der, _) in shown.items()}}
        return {one: parsing.subject(der) for one, der in ders.items() if der}

    async def der(self, fingerprint: Fingerprint) -> bytes | None:
        """Return the DER form of a certificate; None if it is not known."""
        der = await asyncio.to_thread(self.index.der, fingerprint)
        return der or self._shown([fingerprint]).get(fingerprint, (None, ""))[0]

    def _others(
        self, fingerprints: Sequence[Fingerprint], found: Container[Fingerprint]
    ) -> Mapping[Fingerprint, tuple[bytes, str]]:
        missing = [one for one in fingerprints if one not in found]
        return self._shown(missing) if missing else {}


def _parsed(shown: Mapping[Fingerprint, tuple[bytes, str]]) -> dict[Fingerprint, Certificate]:
    return {fingerprint: _parse(der) for fingerprint, (der, _) in shown.items()}
