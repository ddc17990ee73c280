"""What eximcertctl prints, compared with files that a person has looked at."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lab.entries import certificate

if TYPE_CHECKING:
    from lab.twins import Twin

SNAPSHOTS = Path(__file__).parents[1] / "cli" / "snapshots"
WRITE = os.environ.get("SNAPSHOTS") == "write"
"""With SNAPSHOTS=write the tests write the snapshots anew; read the difference before a commit."""

NAMES = (
    "laptop.alice.example",
    "x" * 200,
    "\u05dc\u05d0\u05e4\u05d8\u05d5\u05e4 \u05e9\u05dc \u05d3\u05e0\u05d4",
    "\u6771\u4eac\u306e\u30ce\u30fc\u30c8\u30d1\u30bd\u30b3\u30f3",
    "\U0001f4bb laptop \U0001f680\U0001f1e9\U0001f1ea \U0001f468\u200d\U0001f4bb",
    "e\u0301clair\\, a comma",
    "\x1b[31mred\u202egnp.exe",
)
HOSTS = ("[192.0.2.17]", "mail.example.org [2001:db8:1234:5678:9abc:def0:1234:5678]", "[198.51.100.255]:52011")


BEGIN = datetime(2026, 11, 22, 17, 3, tzinfo=UTC)


def fill(twin: Twin, many: int, standing: str = "pending") -> None:
    """Have so many entries, of which one in ten has warnings and some have no known host."""
    for number in range(many):
        at = f"{BEGIN - timedelta(minutes=7 * number):%Y-%m-%dT%H:%M:%SZ}"
        host = {"host": HOSTS[number % 3], "helo": "h", "sender": "a@x.example", "recipient": "b@y.example"}
        decision = {
            "verb": "approve",
            "by": f"alice{number % 4}",
            "at": at,
            "note": "the night shift's, asked by phone",
        }
        twin.see(
            f"{number * 0x9E3779B97F4A7C15 % 2**64:016X}{number:048X}",
            certificate(f"CN={NAMES[number % len(NAMES)]},O=Site"),
            standing=standing,
            last_seen=at,
            attempts=number * number + 1,
            warnings=["has a short key"] if number % 10 == 3 else [],
            renews={"fingerprint": "B0", "same_key": True, "by": "bob", "at": at} if number % 10 == 4 else None,
            decision=None if standing == "pending" else decision,
            **{"from": host if number % 5 else None},
        )


def check(name: str, text: str) -> None:
    """Compare a text with its snapshot."""
    file = SNAPSHOTS / f"{name}.txt"
    if WRITE:
        SNAPSHOTS.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
