"""The ledger's values as the objects that the control socket answers with. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.status import Status
from eximcertd.text import clean

if TYPE_CHECKING:
    from eximcertd.certificates.certificate import Certificate
    from eximcertd.ledger.decisions import Decision
    from eximcertd.ledger.entries import Entry

_CA_TRUE: Final = (
    "its certificate says CA:TRUE, as `openssl req -x509` makes it: Exim relays for this one certificate and for"
    " nothing that its key signs, but another program that trusts the same directory accepts what it signs;"
    " eximcertctl(8) shows how to make one with CA:FALSE"
)


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
    warnings = [] if certificate is None else certificate.warnings(now)
    if of.lapsed:  # says what the certificate's own warning of its dates says
        lapse = f"off the list: {of.lapse(int(now.timestamp() * 1000))}"
        warnings = [lapse, *map(clean, certificate.static_warnings if certificate is not None else ())]
    if of.withheld:
        warnings.append("removed by hand, from the macro file or the directory: approve or revoke it")
    here = {"here": True} if of.here else {}
    return here | {
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
        "listed": of.status is Status.APPROVED and not of.withheld and not of.lapsed,
        "warnings": warnings,
        "notes": [_CA_TRUE] if certificate is not None and certificate.ca and certificate.self_issued else [],
        "authority": of.authority,
        "renews": renews,
        "same_name": [],
        "uses": of.uses,
        "last_used": rfc3339(of.used),
        "revoke_at": rfc3339(of.revoke_at),
    }


def decision(of: Decision) -> dict[str, Any]:
    """Return a Decision of the interface."""
    fleet = {} if of.generation is None else {"generation": of.generation}
    return {"verb": of.verb.value, "by": clean(of.by), "at": rfc3339(of.at), "note": clean(of.note)} | fleet


def record(of: Decision) -> dict[str, Any]:
    """Return a DecisionRecord of the interface."""
    return {"fingerprint": of.fingerprint, **decision(of)}
