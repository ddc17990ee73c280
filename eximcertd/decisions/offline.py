"""Decisions that root made while eximcertd was down (``eximcertctl revoke --offline``).

They lie in STATE/offline, a JSON object a line, written by root; the ledger takes each of them once.
"""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.errors import LedgerError
from eximcertd.fingerprint import parse
from eximcertd.ledger.decisions import Decision
from eximcertd.status import Verb

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.ledger import Ledger

LARGEST: Final = 16 << 20


def take_offline_decisions(file: Path, ledger: Ledger, taken_file: Path) -> int:
    """Enter what is new in the file into the ledger; return how many. Raises LedgerError if it cannot be trusted.

    taken_file: remembers how far the file was taken before, also over the loss of the ledger.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _untrusted(file, error.strerror or str(error)) from error
    with os.fdopen(descriptor, "rb") as stream:
        there = os.fstat(descriptor)
        if not stat.S_ISREG(there.st_mode) or there.st_uid not in {0, os.getuid()} or there.st_mode & 0o022:
            raise _untrusted(file, "it is no regular file that root alone can write")
        raw = stream.read(LARGEST)
    # What a power cut left of a last line was never said to be done. What a ledger took that was lost since is not
    # taken again: later decisions were lost with it.
    whole = raw.rfind(b"\n") + 1
    start = _taken(taken_file)
    start = start if start <= whole else 0
    taken = 0
    for number, line in enumerate(raw[start:whole].splitlines(), raw[:start].count(b"\n") + 1):
        try:
            decision, request = _decision(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise _untrusted(file, f"line {number} is no decision: {error}") from error
        taken += ledger.decisions.enter([decision], request, as_they_come=True)
    if whole != start:
        _take(taken_file, whole)
    return taken


def _taken(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _take(file: Path, offset: int) -> None:
    """Remember how far the file was taken; the ledger has it already, so this may be late but not early."""
    fresh = file.with_name(file.name + ".new")
    try:
        with fresh.open("w", encoding="ascii") as stream:
            stream.write(str(offset))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    except OSError as error:
        raise LedgerError(f"{file}: cannot be written: {error.strerror}") from error


def _decision(value: dict[str, Any]) -> tuple[Decision, str]:
    at = datetime.fromisoformat(value["at"])
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    decision = Decision(
        parse(value["fingerprint"]),
        Verb(value["verb"]),
        str(value["by"]),
        int(at.timestamp() * 1000),
        str(value.get("note") or ""),
    )
    return decision, str(value["request"])


def _untrusted(file: Path, why: str) -> LedgerError:
    return LedgerError(f"{file}: decisions made offline cannot be taken: {why}", hint="Look at the file as root.")
