"""The entries of the control socket's interface, as the ledger of a twin has them."""

from __future__ import annotations

from typing import Any, Final

ALICE: Final = "A11CE" + "0" * 59
BOB: Final = "B0B" + "1" * 61
PEER: Final = {"host": "[127.0.0.1]", "helo": "laptop", "sender": "a@x.example", "recipient": "b@y.example"}


def certificate(subject: str, **other: Any) -> dict[str, Any]:
    """Return a Certificate of the interface."""
    return {
        "subject": subject,
        "issuer": subject,
        "serial": "0A",
        "not_before": "2026-01-01T00:00:00Z",
        "not_after": "2036-01-01T00:00:00Z",
        "names": [],
        "key": "EC P-256",
        "ca": False,
        "source": "directory",
        "files": ["/etc/ssl/certs/laptop.pem"],
        "expired": False,
        "spki": "AB" * 32,
        "warnings": [],
        "problem": None,
    } | other


def unseen(fingerprint: str) -> dict[str, Any]:
    """Return an Entry of which nothing is known."""
    return {
        "fingerprint": fingerprint,
        "standing": "unseen",
        "certificate": None,
        "attempts": 0,
        "first_seen": None,
        "last_seen": None,
        "from": None,
        "decision": None,
        "warnings": [],
        "notes": [],
        "renews": None,
        "same_name": [],
        "uses": 0,
        "last_used": None,
        "revoke_at": None,
    }


def selected(entries: list[dict[str, Any]], given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return those that were seen since, from this host, the latest first."""
    since, peer = given["since"] or "", given["from"] or ""
    found = [entry for entry in entries if entry["last_seen"] >= since and peer in str(entry["from"])]
    return sorted(found, key=lambda entry: str(entry["last_seen"]), reverse=True)


def listed(entry: dict[str, Any]) -> dict[str, Any]:
    """Return it as a listing has it."""
    return {**entry, "listed": entry["standing"] == "approved"}


def standing(entry: dict[str, Any]) -> str:
    """Return its standing, or unmatched where no certificate is known."""
    unmatched = entry["standing"] == "pending" and entry["certificate"] is None
    return "unmatched" if unmatched else str(entry["standing"])
