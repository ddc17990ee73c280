"""Which certificates of the directory issued others, by issuer and subject (RFC 5280, 4.1.2.4 and 4.1.2.6).

All certificates are read at the first question, then only new ones: most calls never need this.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.certificates.index import Index
    from eximcertd.fingerprint import Fingerprint

_PORTION: Final = 500


class Issuers:
    """The issuers in an index. ``refresh`` belongs into a worker thread; the rest answers from what it found."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._known: dict[Fingerprint, tuple[str, str]] = {}  # issuer ("" if self-issued), subject ("" if no CA)
        self._issuers: Counter[str] = Counter()
        self._authorities: Counter[str] = Counter()

    def refresh(self) -> None:
        """Read the certificates that have come since the last time, and forget those that have gone."""
        for gone in [fingerprint for fingerprint in self._known if fingerprint not in self._index]:
            issuer, subject = self._known.pop(gone)
            self._issuers[issuer] -= 1
            self._authorities[subject] -= 1
        fresh = (fingerprint for fingerprint in self._index if fingerprint not in self._known)
        while portion := list(islice(fresh, _PORTION)):
            for fingerprint, certificate in self._index.details_of(portion).items():
                issuer = "" if certificate.self_issued else certificate.issuer
                subject = certificate.subject if certificate.ca else ""
                self._known[fingerprint] = issuer, subject
                self._issuers[issuer] += 1
                self._authorities[subject] += 1

    def has_issued(self, certificate: Certificate) -> bool:
        """Tell whether other certificates of the directory name this one as their issuer."""
        return bool(certificate.subject) and self._issuers[certificate.subject] > 0

    def authorities(self, names: Collection[str]) -> dict[str, Fingerprint]:
        """Return the fingerprint of a CA's certificate for each of these names that one in the directory has."""
        return {subject: fingerprint for fingerprint, (_, subject) in self._known.items() if subject in names}

    def has_authority(self, issuer: str) -> bool:
        """Tell whether a CA of this name lies in the directory."""
        return bool(issuer) and self._authorities[issuer] > 0
