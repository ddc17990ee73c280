"""Whether a new certificate is the successor of an approved one: the same key, or the same name with a new key.

A hint for the person who decides: two certificates with one name are always two entries, and nothing here approves
anything. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.fingerprint import Fingerprint

_SHOWN_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Approved:
    """The facts by which a successor is recognised, and the approval. spki, subject, issuer: as in Certificate."""

    fingerprint: Fingerprint
    spki: str
    subject: str
    issuer: str
    by: str
    at: datetime

    @classmethod
    def of(cls, certificate: Certificate, by: str, at: datetime) -> Approved:
        """Return the facts of an approved certificate. by, at: of the decision."""
        return cls(certificate.fingerprint, certificate.spki, certificate.subject, certificate.issuer, by, at)


@dataclass(frozen=True, slots=True)
class Renewal:
    """The approved certificate that a pending one seems to follow. same_key: False means the same name only."""

    of: Approved
    same_key: bool

    def __str__(self) -> str:
        """Say it in a line for people, escaped."""
        old = self.of.fingerprint[:_SHOWN_DIGITS]
        by = f"approved by {clean(self.of.by)} on {self.of.at:%Y-%m-%d}"
        return f"renews {old}, same key ({by})" if self.same_key else f"same name as {old}, NEW key ({by})"

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` shows."""
        return {
            "fingerprint": self.of.fingerprint,
            "same_key": self.same_key,
            "by": clean(self.of.by),
            "at": f"{self.of.at:%Y-%m-%dT%H:%M:%SZ}",
        }


class Approvals:
    """The approved certificates, looked up by key and by name at no cost for each pending one."""

    def __init__(self, approved: Iterable[Approved]) -> None:
        self._fingerprints: set[Fingerprint] = set()
        self._by_key: dict[str, list[Approved]] = {}
        self._by_name: dict[tuple[str, str], list[Approved]] = {}
        for one in sorted(approved, key=lambda one: one.at):
            self._fingerprints.add(one.fingerprint)
            if one.spki:
                self._by_key.setdefault(one.spki, []).append(one)
            if one.subject:
                self._by_name.setdefault((one.subject, one.issuer), []).append(one)

    def followed_by(self, certificate: Certificate, before: datetime | None = None) -> Renewal | None:
        """Return which approved certificate this one seems to renew: the latest approved with its key, else its name.

        None where there is none, and for an approved certificate itself, unless ``before`` is given: then only those
        approved before that time (aware) count. A missing subject is no name.
        """
        if certificate.fingerprint in self._fingerprints and before is None:
            return None
        same_key = _latest(self._by_key.get(certificate.spki, ()), before)
        if same_key is not None:
            return Renewal(same_key, same_key=True)
        same_name = _latest(self._by_name.get((certificate.subject, certificate.issuer), ()), before)
        return None if same_name is None else Renewal(same_name, same_key=False)


def _latest(approved: Sequence[Approved], before: datetime | None) -> Approved | None:
    return next((one for one in reversed(approved) if before is None or one.at < before), None)
