"""The ledger's values as the objects that the control socket answers with. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eximcertd.text import clean

if TYPE_CHECKING:
    from eximcertd.certificates.certificate import Certificate
    from eximcertd.ledger.decisions import Decision
    from eximcertd.ledger.entries import Entry


def rfc3339(milliseconds: float | None) -> str | None:
    """Return a time in milliseconds since the epoch as RFC 3339 text in UTC, to the second."""
    if milliseconds is None:
        return None
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # a log line may tell any time: one that no calendar has is none
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def entry(
    of: Entry, certificate: Certificate | None, now: datetime, renews: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return an Entry of the interface. now: aware, for what is expired."""
    peer = of.peer
    return {
        "fingerprint": of.fingerprint,
        "standing": of.status.value,
        "certificate": None if certificate is None else certificate.as_json(now),
        "attempts": of.attempts,
        "first_seen": rfc3339(of.first_seen),
        "last_seen": rfc3339(of.last_seen),
        "from": None
        if peer is None
        else {
            "host": clean(peer.host),
            "helo": clean(peer.helo),
            "sender": clean(peer.sender),
            "recipient": clean(peer.recipient),
        },
        "decision": None if of.decision is None else decision(of.decision),
        "warnings": [] if certificate is None else certificate.warnings(now),
        "renews": renews,
        "revoke_at": rfc3339(of.revoke_at),
    }


def decision(of: Decision) -> dict[str, Any]:
    """Return a Decision of the interface."""
    return {"verb": of.verb.value, "by": clean(of.by), "at": rfc3339(of.at), "note": clean(of.note)}


def record(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a Record of the interface from (id, fingerprint, verb, by, at, note)."""
    _, fingerprint, verb, by, at, note = row
    return {"fingerprint": fingerprint, "verb": verb, "by": clean(by), "at": rfc3339(at), "note": clean(note)}
