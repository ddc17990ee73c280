"""eximcertctl status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eximcertd.cli.context import Context, json_option, pass_context, print_json
from eximcertd.cli.tables import count, local
from eximcertd.fingerprint import grouped
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command("status")
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Show how eximcertd, the log and Exim's list stand."""
    with context.client() as client:
        status = client.call("Status")["status"]
    if as_json:
        print_json(status)
        return
    click.echo(f"eximcertd {clean(status['version'])}, process {status['pid']}\n")
    for name, line, bad in _lines(status):
        click.echo(f"{name:<13}{click.style(line, fg='red', bold=True) if bad else line}")


def _lines(status: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield name, text, and whether it is bad."""
    yield from _log(status["log"])
    certificates = status["certificates"]
    known = f"{certificates['distinct']:,} in {count(certificates['files'], 'file')}"
    yield "certificates", known, False
    if certificates["problem"]:
        yield "", clean(certificates["problem"]), True
    counts = status["counts"]
    approved = f"{counts['approved']:,}"
    if certificates["expired"] or certificates["expiring"]:
        approved += f", of which {certificates['expired']} expired and {certificates['expiring']} soon will"
    yield "approved", approved, False
    pending = f"{counts['pending']:,}"
    if counts["unmatched"]:
        pending += f", and {counts['unmatched']:,} without a certificate"
    if counts["unmatched_dropped"]:
        pending += f" ({counts['unmatched_dropped']:,} more were forgotten, being too many)"
    yield "pending", pending, False
    yield "rejected", f"{counts['rejected']:,}", False
    yield "revoked", f"{counts['revoked']:,}", False
    yield from _allowlist(status["allowlist"])


def _log(log: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    behind = log["behind_bytes"]
    read = "read to its end" if not behind else f"{behind:,} bytes still to read"
    yield "log", f"{clean(log['path'])}, {read}", False
    yield "", f"last line {local(log['last_line_at'])}", False
    if log["problem"]:
        yield "", clean(log["problem"]), True


def _allowlist(allowlist: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    if allowlist["exim_is_down"]:
        yield "allowlist", "EXIM IS DOWN: it ended at the last reload", True
    elif allowlist["live"]:
        yield "allowlist", f"live, {_form(allowlist)} since {local(allowlist['published_at'])}", False
    else:
        yield "allowlist", f"NOT LIVE: Exim does not honour all that was decided; {_form(allowlist)}", True
    if allowlist["error"]:
        yield "", clean(allowlist["error"]), True
    if allowlist["retry_at"]:
        yield "", f"it is tried again by {local(allowlist['retry_at'])}", False
    for fingerprint in allowlist["removed_by_hand"]:
        yield "", f"{grouped(clean(fingerprint))}", False
        yield "", "was taken out of the macro file by hand: settle it by approve or revoke", True


def _form(allowlist: dict[str, Any]) -> str:
    return f"{clean(allowlist['form'] or 'no')} form, revision {allowlist['revision']}"
