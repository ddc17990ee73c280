"""A certificate as people see it: a value, with what there is to say about it at a given time.

Pure: no I/O, no clock. Texts are as in the certificate, and so from outside: ``as_json`` and ``warnings`` escape them;
other code that shows them uses eximcertd.text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eximcertd.text import clean

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from eximcertd.fingerprint import Fingerprint


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate (RFC 5280).

    fingerprint: SHA-256 over the DER form. subject, issuer: RFC 4514, "" where there is none or it cannot be
    read. serial: upper-case hex, "" where it cannot be read. not_before, not_after: aware UTC, both ends
    belong to the validity; None where they cannot be read. names: subject alternative names, DNS names,
    mail addresses, URIs and IP addresses as plain text. key: "RSA 2048", "EC P-256", "Ed25519", "" where it
    cannot be read. ca: the basic constraints say CA. files: names in the directory, sorted, the first hundred; none if
    only its client has shown it.
    spki: SHA-256 over the SubjectPublicKeyInfo, 64 lower-case hex digits, "" where it cannot be read.
    static_warnings: those that do not depend on the time (certificate_warnings). problem: why not all of it could be
    read, or "".
    public: it belongs to a public CA, being part of the system's bundle.
    """

    fingerprint: Fingerprint
    subject: str
    issuer: str
    serial: str
    not_before: datetime | None
    not_after: datetime | None
    names: tuple[str, ...]
    key: str
    ca: bool
    files: tuple[str, ...]
    spki: str
    static_warnings: tuple[str, ...] = ()
    problem: str = ""
    public: bool = False

    @property
    def source(self) -> str:
        """Where it comes from: "directory" or "attempt" (a client has shown it)."""
        return "directory" if self.files else "attempt"

    @property
    def self_issued(self) -> bool:
        """Tell whether issuer and subject are the same name (RFC 5280, 3.2), as in a self-signed certificate."""
        return self.subject == self.issuer

    def expired(self, now: datetime) -> bool:
        """Tell whether its time is over at ``now`` (aware)."""
        return self.not_after is not None and now > self.not_after

    def not_yet_valid(self, now: datetime) -> bool:
        """Tell whether its time has not begun at ``now`` (aware)."""
        return self.not_before is not None and now < self.not_before

    def expires_within(self, now: datetime, span: timedelta) -> bool:
        """Tell whether it is valid at ``now`` and will not be ``span`` later."""
        return self.not_after is not None and now <= self.not_after < now + span

    def warnings(self, now: datetime) -> list[str]:
        """Return the warnings for a person who approves it at ``now``, one clause each, escaped."""
        found = []
        if self.not_after is not None and self.expired(now):
            found.append(f"expired on {self.not_after:%Y-%m-%d}")
        if self.not_before is not None and self.not_yet_valid(now):
            found.append(f"not valid before {self.not_before:%Y-%m-%d}")
        return [clean(text) for text in (*found, *self.static_warnings)]

    def as_json(self, now: datetime) -> dict[str, Any]:
        """Return the object that ``--json`` shows: times RFC 3339 in UTC, text from outside escaped.

        Beyond subject, issuer, serial, not_before, not_after, names, key, ca and files: source, expired (at ``now``),
        spki, warnings (a list of clauses) and problem (null, or why not all of it could be read).
        """
        return {
            "subject": clean(self.subject),
            "issuer": clean(self.issuer),
            "serial": self.serial,
            "not_before": _rfc3339(self.not_before),
            "not_after": _rfc3339(self.not_after),
            "names": [clean(name) for name in self.names],
            "key": clean(self.key),
            "ca": self.ca,
            "files": [clean(name) for name in self.files],
            "source": self.source,
            "expired": self.expired(now),
            "spki": self.spki,
            "warnings": self.warnings(now),
            "problem": clean(self.problem) or None,
        }


def _rfc3339(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}".rjust(20, "0")
