"""Decisions that root made while eximcertd was down (``eximcertctl revoke --offline``).

STATE/offline holds one JSON object a line, written by root; the ledger takes each of them once (sources.offline).
"""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.decisions.sources import offline
from eximcertd.errors import LedgerError
from eximcertd.fingerprint import parse
from eximcertd.ledger.decisions import Decision
from eximcertd.status import Verb

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.decisions.decide import Decider
    from eximcertd.ledger import Ledger

LARGEST: Final = 16 << 20


def take_offline_decisions(file: Path, taken_file: Path, ledger: Ledger, decider: Decider) -> None:
    """Make the decisions in the file that the ledger does not have. Raises LedgerError if the file cannot be trusted.

    Each time all of them are offered: the ledger recognises those that it has, and a restored older ledger takes the
    others. A new ledger takes only those after the number of bytes in taken_file: for the others it may lack later
    decisions, and their result is in the list that Exim honours.
    """
    raw = _read(file)
    # an incomplete last line, after a power cut, was never reported as done
    whole = raw.rfind(b"\n") + 1
    start = _taken(taken_file) if not ledger.decisions.newest(limit=1) else 0
    start = start if start <= whole else 0
    decisions = []
    for number, line in enumerate(raw[start:whole].splitlines(), raw[:start].count(b"\n") + 1):
        try:
            decisions.append(_decision(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise _untrusted(file, f"line {number} is not a decision: {error}") from error
    for one in decisions:
        ledger.denials.deny(ledger.denials.bound_by(one.fingerprint))
    decider.decide(offline(decisions))
    if whole != _taken(taken_file):
        _remember(taken_file, whole)


def _read(file: Path) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _untrusted(file, error.strerror or str(error)) from error
    with os.fdopen(descriptor, "rb") as stream:
        there = os.fstat(descriptor)
        if not stat.S_ISREG(there.st_mode) or there.st_uid not in {0, os.getuid()} or there.st_mode & 0o022:
            raise _untrusted(file, "it is not a regular file that root alone can write")
        if there.st_size > LARGEST:
            raise _untrusted(file, f"it is larger than {LARGEST >> 20} MiB")
        return stream.read(LARGEST)


def _taken(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _remember(file: Path, offset: int) -> None:
    """Store how much of the file was taken; after the ledger's transaction, so this may be late but not early."""
    fresh = file.with_name(file.name + ".new")
    try:
        with fresh.open("w", encoding="ascii") as stream:
            stream.write(str(offset))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    except OSError as error:
        raise LedgerError(f"{file}: cannot be written: {error.strerror}") from error


def _decision(value: dict[str, Any]) -> Decision:
    at = datetime.fromisoformat(value["at"])
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return Decision(
        parse(value["fingerprint"]),
        Verb(value["verb"]),
        str(value["by"]),
        int(at.timestamp() * 1000),
        str(value.get("note") or ""),
        str(value["request"]),
    )


def _untrusted(file: Path, why: str) -> LedgerError:
    return LedgerError(f"{file}: decisions made offline cannot be taken: {why}", hint="Look at the file as root.")
