"""The sighting of one certificate: the value that goes from the log's lines to the ledger.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eximcertd.fingerprint import Fingerprint


@dataclass(frozen=True, slots=True)
class Peer:
    """The client of a refused attempt, as the line that follows it names it: unescaped text from outside.

    host: IP address, after its verified name if there is one. helo, sender, recipient: as the client gave them
    (recipient is empty where the refusal came after DATA).
    """

    host: str
    helo: str
    sender: str
    recipient: str


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """The certificate that a client showed in a refused attempt; its TLS handshake proved that it has the key.

    der: at most 6 KiB. issuer_hash: SHA-256 of the issuer's name as Exim prints it, 64 upper-case hex digits.
    subject: RFC 4514, "" if there is none; the client can choose it freely.
    """

    der: bytes
    issuer_hash: str
    subject: str


@dataclass(slots=True)
class Sighting:
    """Attempts of one certificate.

    attempts: how many; 0 if this adds only the peer of an attempt that was counted before. first, last: time of
    the first and the last of them, ms since the epoch, or None if unknown. peer: who made the last one, or None.
    certificate: what the log brought with an attempt, or None. uses, used: how many recipients Exim accepted from it,
    and when the last one (ms since the epoch), where Exim logs that; else 0 and None.
    """

    fingerprint: Fingerprint
    attempts: int = 0
    first: int | None = None
    last: int | None = None
    peer: Peer | None = None
    certificate: ShownCertificate | None = None
    uses: int = 0
    used: int | None = None

    def use(self, at: int) -> None:
        """Add one accepted recipient at a time in ms since the epoch."""
        self.uses += 1
        self.used = at if self.used is None else max(at, self.used)

    def add(self, at: int) -> None:
        """Add one attempt at a time in ms since the epoch."""
        self.attempts += 1
        if self.first is None or at < self.first:
            self.first = at
        if self.last is None or at > self.last:
            self.last = at

    def merge(self, other: Sighting) -> None:
        """Add what another sighting of the same fingerprint holds."""
        self.attempts += other.attempts
        if other.first is not None:
            self.first = other.first if self.first is None else min(self.first, other.first)
        if other.last is not None:
            self.last = other.last if self.last is None else max(self.last, other.last)
        self.peer = other.peer or self.peer
        self.certificate = self.certificate or other.certificate
        self.uses += other.uses
        if other.used is not None:
            self.used = other.used if self.used is None else max(self.used, other.used)
