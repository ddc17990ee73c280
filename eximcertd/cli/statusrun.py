"""eximcertctl status: asking and printing. Without click (see quick.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eximcertd.cli.formatting import count, digits
from eximcertd.cli.output import print_json, say
from eximcertd.cli.times import local
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.cli.connection import Context


def run(context: Context, *, as_json: bool) -> None:
    """Print the state. Raises EximcertdError."""
    status = context.call("Status")["status"]
    if as_json:
        print_json(status)
        return
    say(f"eximcertd {clean(status['version'])}, process {status['pid']}\n")
    for name, line, alarm in _lines(status):
        say(f"{name:<13}{line}", alarm=alarm)


def _lines(status: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield the name and the text of each line, and whether it needs attention."""
    yield from _log(status["log"])
    certificates = status["certificates"]
    yield "certificates", f"{certificates['distinct']:,} in {count(certificates['files'], 'file')}", False
    if certificates["problem"]:
        yield "", clean(certificates["problem"]), True
    counts = status["counts"]
    approved = f"{counts['approved']:,}"
    dates = {
        "expired: off the list": certificates["expired"],
        "not yet valid: off the list": certificates["not_yet_valid"],
        "will expire soon": certificates["expiring"],
    }
    if any(dates.values()):
        approved += f" ({'; '.join(f'{number:,} {what}' for what, number in dates.items() if number)})"
    yield "approved", approved, False
    authorities = status.get("authorities") or {"approved": 0}
    if authorities["approved"]:
        through = f"{count(authorities['enrolled'], 'certificate')} approved through them"
        yield "authorities", f"{authorities['approved']:,}, {through}", False
        for problem in authorities["problems"]:
            yield "", clean(problem), True
    pending = f"{counts['pending']:,}"
    if counts["unmatched"]:
        pending += f", and {counts['unmatched']:,} without a certificate"
    if counts["unmatched_dropped"]:
        pending += f" ({counts['unmatched_dropped']:,} dropped: see unmatched_limit)"
    yield "pending", pending, False
    yield "rejected", f"{counts['rejected']:,}", False
    yield "revoked", f"{counts['revoked']:,}", False
    yield from _allowlist(status["allowlist"])
    if status.get("fleet"):
        yield from _fleet(status["fleet"])


def _log(log: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    behind = log["behind_bytes"]
    read = "read to its end" if not behind else f"{behind:,} bytes still to read"
    yield "log", f"{clean(log['path'])}, {read}", False
    yield "", f"last line {local(log['last_line_at'])}", False
    if log["problem"]:
        yield "", clean(log["problem"]), True


def _allowlist(allowlist: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    if allowlist["exim_is_down"]:
        yield "allowlist", "EXIM IS DOWN: it ended at the last reload. Start it, then run eximcertctl check", True
    elif allowlist["live"]:
        yield "allowlist", f"live, {_form(allowlist)} since {local(allowlist['published_at'])}", False
    else:
        yield "allowlist", f"NOT LIVE: Exim does not honour every decision; {_form(allowlist)}", True
    if allowlist["error"]:
        yield "", clean(allowlist["error"]), True
    if allowlist["retry_at"]:
        yield "", f"next attempt by {local(allowlist['retry_at'])}", False
    for fingerprint in allowlist["removed_by_hand"]:
        yield "", digits(fingerprint), False
        yield "", "was removed by hand, from the macro file or the directory: approve or revoke it", True


def _fleet(fleet: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    link = fleet["link"] or {"state": "", "problem": "", "since": None}
    acts = f"generation {fleet['generation']:,}, live {fleet['live']:,}"
    if link["state"] == "in-step":
        yield "fleet", f"{clean(fleet['relay'])}: in step with {acts}, {local(link['heard'])}", False
    elif link["state"]:
        yield "fleet", f"{clean(fleet['relay'])}: AWAY since {local(link['since'])}; it has {acts}", True
    else:
        yield "fleet", f"{clean(fleet['relay'])}: eximcertd-fleet has not reported; this relay has {acts}", True
    if fleet["open"]:
        yield "", f"{count(fleet['open'], 'decision')} of this relay to be settled: eximcertctl fleet settle", False
    if fleet["held"]:
        yield "", f"act {fleet['held']} waits: eximcertctl fleet accept {fleet['held']}", True
    for problem in (fleet["problem"], link["problem"]):
        if problem:
            yield "", clean(problem), True


def _form(allowlist: dict[str, Any]) -> str:
    revision = f", revision {allowlist['revision']}" if allowlist["revision"] else ""
    return f"{clean(allowlist['form'] or 'no')} form{revision}"
