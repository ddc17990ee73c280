"""Entries of the interface for what the fleet knows. A certificate comes from its DER form and has the fingerprint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eximcertd.acts.act import Act
    from eximcertd.certificates.certificate import Certificate
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.fleet.remote import Sighted


def entry(name: Fingerprint, certificate: Certificate | None, standing: str, **other: Any) -> dict[str, Any]:
    """Return an Entry. other: parts of it."""
    now = datetime.now(UTC)
    return {
        "fingerprint": name,
        "standing": standing,
        "certificate": certificate.as_json(now) if certificate else None,
        "attempts": 0,
        "first_seen": None,
        "last_seen": None,
        "from": None,
        "decision": None,
        "warnings": certificate.warnings(now) if certificate else [],
        "notes": [],
        "renews": None,
        "same_name": [],
        "revoke_at": None,
        "listed": standing == "approved",
        **other,
    }


def decision(act: Act) -> dict[str, Any]:
    """Return the Decision of an act."""
    return {"verb": act.verb, "by": act.by, "at": rfc3339(act.at / 1000), "note": act.note}


def certificates(sighted: Iterable[Sighted]) -> dict[Fingerprint, Certificate]:
    """Return the certificates that relays have sent, read from those bytes that have the fingerprint."""
    from eximcertd.certificates.parsing import parse  # noqa: PLC0415 - its library takes 80 ms
    from eximcertd.fingerprint import of_der  # noqa: PLC0415 - it loads OpenSSL

    found: dict[Fingerprint, Certificate] = {}
    for one in sighted:
        if one.fingerprint not in found and one.der and of_der(one.der) == one.fingerprint:
            found[one.fingerprint] = parse(one.der)
    return found


def rfc3339(milliseconds: float | None) -> str | None:
    """Return a time as the interface has it; None for None and for what is no time."""
    try:
        at = None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else None
