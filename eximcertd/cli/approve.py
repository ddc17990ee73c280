"""eximcertctl approve."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from eximcertd.cli import outcome
from eximcertd.cli.arguments import fingerprints_argument, prefixes
from eximcertd.cli.context import json_option, print_json
from eximcertd.cli.decide import ask, note_option, say
from eximcertd.errors import RefusedError, UsageError
from eximcertd.fingerprint import NEVER, grouped


@click.command("approve")
@fingerprints_argument
@note_option
@click.option("--without-certificate", is_flag=True, help="Approve one of which no certificate is found.")
@click.option("--expired", is_flag=True, help="Approve one whose certificate has expired.")
@click.option("--ca", is_flag=True, help="Approve a CA's certificate.")
@click.option("--replace", is_flag=True, help="Revoke what it renews, at --at or when that expires.")
@click.option("--at", metavar="DATE", help="With --replace: a day (its first moment here), or a time.")
@json_option
@click.pass_context
def command(  # noqa: PLR0917 - an argument for each option
    ctx: click.Context,
    fingerprints: tuple[str, ...],
    note: str,
    without_certificate: bool,
    expired: bool,
    ca: bool,
    replace: bool,
    at: str | None,
    as_json: bool,
) -> None:
    """Let Exim relay for the holder of a certificate; returns when Exim does.

    Several fingerprints are one decision: all of them or none. Look at the certificate first, with
    eximcertctl show.
    """
    flags = {"without-certificate": without_certificate, "expired": expired, "ca": ca}
    if at is not None and not replace:
        raise UsageError("--at goes with --replace")
    asked = prefixes(fingerprints)
    for fingerprint, reason in NEVER.items():
        if fingerprint in asked:
            raise RefusedError(f"{grouped(fingerprint)} can never be approved: {reason}")
    answer = ask(
        ctx.obj,
        "approve",
        asked,
        note,
        [name for name, given in flags.items() if given],
        replace=replace,
        replace_at=None if at is None else _time(at),
    )
    if as_json:
        print_json(answer)
    else:
        say(answer)
    ctx.exit(int(outcome.status(answer["publication"])))


def _time(text: str) -> str:
    """Return a day or time as it was typed, of this machine's clock if it names no zone, as RFC 3339 in UTC."""
    try:
        at = datetime.fromisoformat(text.strip())
        utc = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no day and no time", hint="give 2027-01-31, or 2027-01-31T18:00") from None
    if utc < datetime.now(UTC) - timedelta(days=1):
        raise UsageError(f"{text!r} is in the past", hint="to throw something out now, use eximcertctl revoke")
    return f"{utc:%Y-%m-%dT%H:%M:%SZ}"
