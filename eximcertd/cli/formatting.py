"""Entries, decisions and errors as text, in 80 columns where they fit.

Names in certificates, HELO arguments and notes are text from outside: each is escaped and cut here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.times import date, local
from eximcertd.errors import EximcertdError, NoSuchFingerprintError
from eximcertd.fingerprint import grouped
from eximcertd.text import clean, columns, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WIDTH: Final = 80
_INDENT: Final = "  "
_MOST_FILES: Final = 5
_LONGEST: Final = 1000
_SHOWN: Final = "shown by the client; ask its owner for the fingerprint"


def complaint(error: EximcertdError, verb: str = "") -> str:
    """Return the text of an error: the verb that was typed, the message, the candidates, what to do."""
    lines = [f"{f'eximcertctl {verb}'.strip()}: {_lines(error.message)}"]
    if isinstance(error, NoSuchFingerprintError):
        lines += [_INDENT + digits(candidate) for candidate in error.candidates]
    if error.hint:
        lines.append(_INDENT + _lines(error.hint))
    return "\n".join(lines)


def digits(fingerprint: str) -> str:
    """Return a fingerprint in groups of eight digits."""
    return grouped(clean(fingerprint))


def pending(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a pending entry, the fingerprint first."""
    yield digits(entry["fingerprint"])
    yield from _certificate(entry["certificate"])
    times = f"{count(entry['attempts'], 'attempt')}, last {local(entry['last_seen'])}"
    if entry["attempts"] > 1:
        times += f", first {local(entry['first_seen'])}"
    yield _INDENT + times
    yield from _peer(entry["from"])
    yield from _warnings(entry)


def decided(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of an entry with a decision, the fingerprint first."""
    yield digits(entry["fingerprint"])
    yield from _certificate(entry["certificate"])
    decision = entry["decision"]
    if decision is not None:
        yield _cut(_INDENT + _decision(decision))
    if entry.get("here"):
        yield f"{_INDENT}decided here, and not settled in the fleet"
    if entry["revoke_at"]:
        yield f"{_INDENT}will be revoked on {local(entry['revoke_at'])}"
    yield from _warnings(entry)


def whole(entry: dict[str, Any], history: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of one entry with everything known of it. history: its decisions, oldest first."""
    yield digits(entry["fingerprint"])
    yield from _field("standing", entry["standing"])
    certificate = entry["certificate"]
    if certificate is None:
        yield from _field("certificate", "none known with this fingerprint")
    else:
        yield from _field("subject", certificate["subject"] or "(none)")
        yield from _field("names", ", ".join(certificate["names"]) or "(none)")
        issuer = certificate["issuer"]
        yield from _field("issuer", "itself" if issuer == certificate["subject"] else issuer or "(none)")
        yield from _field("serial", certificate["serial"])
        yield from _field("valid", f"{date(certificate['not_before'])} to {date(certificate['not_after'])}")
        yield from _field("key", certificate["key"] + (", basic constraints CA:TRUE" if certificate["ca"] else ""))
        files = certificate["files"]
        if certificate["source"] == "attempt":
            yield from _field("file", f"none: {_SHOWN}")
        else:
            yield from _field("files", ", ".join(files[:_MOST_FILES]) + (" ..." if len(files) > _MOST_FILES else ""))
    yield from _field("attempts", attempts(entry))
    if entry.get("last_used"):
        yield from _field("used", f"{count(entry['uses'], 'accepted recipient')}, last {local(entry['last_used'])}")
    if entry["from"]:
        for key in ("host", "helo", "sender", "recipient"):
            yield from _field(key, entry["from"][key] or "(none)")
    if entry.get("here"):
        yield from _field("fleet", "decided here: this relay's own decision, which the fleet has not settled")
    if entry["revoke_at"]:
        yield from _field("revoked", f"automatically on {local(entry['revoke_at'])}")
    yield from _warnings(entry)
    for note in entry["notes"]:
        yield from wrapped(f"{_INDENT}- ", note)
    decisions = list(history)[::-1]
    if decisions:
        yield ""
        yield "Decisions, newest first:"
        yield from (_cut(_INDENT + _decision(decision)) for decision in decisions)


def attempts(entry: dict[str, Any]) -> str:
    """Return the number of refusals of the client, and when they were."""
    if not entry["attempts"]:
        return "none"
    return f"{entry['attempts']}, first {local(entry['first_seen'])}, last {local(entry['last_seen'])}"


def record(of: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one decision of the history."""
    yield _cut(_decision(of))
    yield _INDENT + digits(of["fingerprint"])


def count(number: int, noun: str) -> str:
    """Return "1 attempt", "2 attempts"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def wrapped(start: str, text: str) -> Iterator[str]:
    """Yield ``start`` and ``text``, wrapped at blanks; further lines are indented to the width of ``start``."""
    line, empty = start, True
    for word in shown(text, _LONGEST).split(" "):
        if not empty and columns(line) + 1 + columns(word) > WIDTH:
            yield line
            line, empty = " " * len(start), True
        line += word if empty else f" {word}"
        empty = False
    yield line


def _certificate(certificate: dict[str, Any] | None) -> Iterator[str]:
    if certificate is None:
        yield f"{_INDENT}no certificate found"
        return
    name = certificate["subject"] or ", ".join(certificate["names"]) or "(no name)"
    issuer = "itself" if certificate["issuer"] == certificate["subject"] else certificate["issuer"] or "(no name)"
    yield _cut(_INDENT + name)
    yield _cut(f"{_INDENT}until {date(certificate['not_after'])}, {certificate['key']}, issued by {issuer}")
    if certificate["source"] == "attempt":
        yield f"{_INDENT}{_SHOWN}"


def _peer(peer: dict[str, Any] | None) -> Iterator[str]:
    if peer is None:
        return
    helo = f" as {peer['helo']}" if peer["helo"] else ""
    yield _cut(f"{_INDENT}from {peer['host']}{helo}")
    yield _cut(f"{_INDENT}<{peer['sender']}> to <{peer['recipient']}>")


def _warnings(entry: dict[str, Any]) -> Iterator[str]:
    renews = entry["renews"]
    if renews is not None:
        what = "same key" if renews["same_key"] else "same name, NEW key"
        yield f"{_INDENT}renews {clean(renews['fingerprint'][:16])} ({what}),"
        yield _cut(f"{_INDENT}  approved by {renews['by']} on {date(renews['at'])}")
    if entry["same_name"]:
        others = ", ".join(clean(other[:16]) for other in entry["same_name"])
        yield from wrapped(f"{_INDENT}! ", f"claims the same name as {others}: compare the fingerprints")
    for warning in entry["warnings"]:
        yield from wrapped(f"{_INDENT}! ", warning)


def _decision(decision: dict[str, Any]) -> str:
    past = {
        "approve": "approved", "reject": "rejected", "revoke": "revoked", "adopt": "adopted",
        "authorize": "authority approved", "withdraw": "authority withdrawn",
    }  # fmt: skip
    verb = past.get(decision["verb"] or "", decision["verb"] or "")
    note = f": {decision['note']}" if decision["note"] else ""
    fleet = f" (fleet, {decision['generation']})" if decision.get("generation") else ""
    return f"{local(decision['at'])}  {verb} by {decision['by'].removeprefix('by ')}{fleet}{note}"


def _field(name: str, value: str) -> Iterator[str]:
    yield from wrapped(f"{_INDENT}{name:<12}", value)


def _cut(text: str) -> str:
    return shown(text, WIDTH)


def _lines(text: str) -> str:
    return ("\n" + _INDENT).join(clean(line) for line in text.splitlines())
