"""What people read: entries, decisions, complaints, in 80 columns where they fit.

Nothing in here trusts what it shows: every text from elsewhere is escaped and cut.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.errors import EximcertdError, NoSuchFingerprintError
from eximcertd.fingerprint import grouped
from eximcertd.text import clean, columns, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WIDTH: Final = 80
_INDENT: Final = "  "
_MOST_FILES: Final = 5
_LONGEST: Final = 1000


def complaint(error: EximcertdError) -> str:
    """Return what is printed about an error: its sentences, the candidates, what to do."""
    lines = [f"eximcertctl: {_lines(error.message)}"]
    if isinstance(error, NoSuchFingerprintError):
        lines += [_INDENT + grouped(clean(candidate)) for candidate in error.candidates]
    if error.hint:
        lines.append(_INDENT + _lines(error.hint))
    return "\n".join(lines)


def local(time: str | None) -> str:
    """Return an RFC 3339 time as this machine's clock shows it, to the minute; "-" for none."""
    at = moment(time)
    return "-" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M}"


def moment(time: str | None) -> datetime | None:
    """Return an RFC 3339 time as an aware datetime, None for none or for what is no time."""
    try:
        at = datetime.fromisoformat(time or "")
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def waiting(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about an entry that waits for a decision, the fingerprint first."""
    yield grouped(entry["fingerprint"])
    yield from _certificate(entry["certificate"])
    times = f"{count(entry['attempts'], 'attempt')}, last {local(entry['last_seen'])}"
    if entry["attempts"] > 1:
        times += f", first {local(entry['first_seen'])}"
    yield _INDENT + times
    yield from _peer(entry["from"])
    yield from _doubts(entry)


def decided(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about an entry that was decided on, the fingerprint first."""
    yield grouped(entry["fingerprint"])
    yield from _certificate(entry["certificate"])
    decision = entry["decision"]
    if decision is not None:
        yield _cut(_INDENT + _decision(decision))
    if entry["revoke_at"]:
        yield f"{_INDENT}will be revoked on {local(entry['revoke_at'])}"
    yield from _doubts(entry)


def whole(entry: dict[str, Any], history: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines about one entry, with all that is known of it."""
    yield grouped(entry["fingerprint"])
    yield from _field("standing", entry["standing"])
    certificate = entry["certificate"]
    if certificate is None:
        yield from _field("certificate", "none is found in the directory of certificates")
    else:
        yield from _field("subject", certificate["subject"] or "(none)")
        yield from _field("names", ", ".join(certificate["names"]) or "(none)")
        issuer = certificate["issuer"]
        yield from _field("issuer", "itself" if issuer == certificate["subject"] else issuer or "(none)")
        yield from _field("serial", certificate["serial"])
        yield from _field("valid", f"{_date(certificate['not_before'])} to {_date(certificate['not_after'])}")
        yield from _field("key", certificate["key"] + (", a CA's" if certificate["ca"] else ""))
        files = certificate["files"]
        yield from _field("files", ", ".join(files[:_MOST_FILES]) + (" ..." if len(files) > _MOST_FILES else ""))
    yield from _field("attempts", attempts(entry))
    if entry["from"]:
        for key in ("host", "helo", "sender", "recipient"):
            yield from _field(key, entry["from"][key] or "(none)")
    if entry["revoke_at"]:
        yield from _field("revoked", f"by itself on {local(entry['revoke_at'])}")
    yield from _doubts(entry)
    decisions = list(history)
    if decisions:
        yield ""
        yield "Decisions, newest first:"
        yield from (_cut(_INDENT + _decision(decision)) for decision in decisions)


def attempts(entry: dict[str, Any]) -> str:
    """Return how often and when a client was refused."""
    if not entry["attempts"]:
        return "none"
    return f"{entry['attempts']}, first {local(entry['first_seen'])}, last {local(entry['last_seen'])}"


def record(of: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about a decision in the history."""
    yield _cut(_decision(of))
    yield _INDENT + grouped(of["fingerprint"])


def count(number: int, noun: str) -> str:
    """Return "1 attempt", "2 attempts"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def wrapped(start: str, text: str) -> Iterator[str]:
    """Yield ``text`` behind ``start``, broken at blanks where it is too wide, and then below its beginning."""
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
    name = certificate["subject"] or ", ".join(certificate["names"]) or "(a certificate without a name)"
    issuer = "itself" if certificate["issuer"] == certificate["subject"] else certificate["issuer"] or "nobody named"
    yield _cut(_INDENT + name)
    yield _cut(f"{_INDENT}until {_date(certificate['not_after'])}, {certificate['key']}, issued by {issuer}")


def _peer(peer: dict[str, Any] | None) -> Iterator[str]:
    if peer is None:
        return
    helo = f" as {peer['helo']}" if peer["helo"] else ""
    yield _cut(f"{_INDENT}from {peer['host']}{helo}")
    yield _cut(f"{_INDENT}<{peer['sender']}> to <{peer['recipient']}>")


def _doubts(entry: dict[str, Any]) -> Iterator[str]:
    renews = entry["renews"]
    if renews is not None:
        what = "same key" if renews["same_key"] else "same name, NEW key"
        yield f"{_INDENT}renews {renews['fingerprint'][:16]} ({what}),"
        yield _cut(f"{_INDENT}  approved by {renews['by']} on {_date(renews['at'])}")
    for warning in entry["warnings"]:
        yield from wrapped(f"{_INDENT}! ", warning)


def _decision(decision: dict[str, Any]) -> str:
    past = {"approve": "approved", "reject": "rejected", "revoke": "revoked", "adopt": "adopted"}
    verb = past.get(decision["verb"] or "", decision["verb"] or "")
    note = f": {decision['note']}" if decision["note"] else ""
    return f"{local(decision['at'])}  {verb} by {decision['by']}{note}"


def _field(name: str, value: str) -> Iterator[str]:
    yield from wrapped(f"{_INDENT}{name:<12}", value)


def _date(time: str | None) -> str:
    at = moment(time)
    return "-" if at is None else f"{at.astimezone():%Y-%m-%d}"


def _cut(text: str) -> str:
    return shown(text, WIDTH)


def _lines(text: str) -> str:
    return ("\n" + _INDENT).join(clean(line) for line in text.splitlines())
