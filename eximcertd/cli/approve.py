"""eximcertctl approve."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from eximcertd.cli.arguments import fingerprints_argument
from eximcertd.cli.context import json_option
from eximcertd.cli.decision import (
    ask,
    chosen,
    exit_status,
    here_option,
    insist_options,
    insisted,
    note_option,
    say_decision,
    yes_option,
)
from eximcertd.cli.output import print_json, say
from eximcertd.errors import RefusedError, UsageError
from eximcertd.fingerprint import NEVER, grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.cli.context import Context


@click.command("approve")
@fingerprints_argument
@note_option
@insist_options
@click.option("--replace", is_flag=True, help="Revoke the certificate that it renews: at --at, else when that expires.")
@click.option("--at", metavar="DATE", help="With --replace: a date (00:00 local time) or a time.")
@here_option
@click.option("--wait", metavar="all|quorum|N", help="In a fleet: return when the Exims of so many relays honour it.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86400),
    default=120.0,
    metavar="SECONDS",
    help="In a fleet: the longest time to wait; 120 by default.",
)
@yes_option
@json_option
@click.pass_context
def command(  # noqa: PLR0917 - an argument for each option
    ctx: click.Context,
    /,
    fingerprints: tuple[str, ...],
    note: str,
    replace: bool,
    at: str | None,
    here: bool,
    wait: str | None,
    timeout: float,
    yes: bool,
    as_json: bool,
    **insist: bool,
) -> None:
    """Let Exim relay for the holder of a certificate. Returns when Exim does.

    Several fingerprints are one decision: all of them or none. eximcertctl show prints the certificate. A NAME is an
    alternative name, the name of the file, or a part of the subject of a certificate in the directory.
    """
    if at is not None and not replace:
        raise UsageError("--at needs --replace: it is the time at which the old certificate is revoked")
    in_fleet = not here and ctx.obj.fleet() is not None
    if replace and in_fleet:
        raise UsageError(
            "--replace works on one relay, not for the whole fleet",
            hint="add --here, or leave --replace out and revoke the old certificate later",
        )
    if wait and not in_fleet:
        raise UsageError("--wait is for a fleet: this decision concerns one relay only", hint="leave --wait out")
    asked = chosen(ctx.obj, "approve", fingerprints, yes=yes)
    for fingerprint, reason in NEVER.items():
        if fingerprint in asked:
            raise RefusedError(f"{grouped(fingerprint)} can never be approved: {reason}")
    answer = ask(
        ctx.obj,
        "approve",
        asked,
        note,
        insisted(insist),
        replace=replace,
        replace_at=None if at is None else _time(at),
        here=here,
        wait=(wait or "", timeout),
    )
    if as_json:
        print_json(answer)
    else:
        say_decision(answer)
        if answer["publication"]["outcome"] != "fleet":
            say_missing_files(ctx.obj, answer["decided"])
    ctx.exit(int(exit_status(answer)))


def say_missing_files(context: Context, decided: Sequence[dict[str, Any]]) -> None:
    """Say where the certificates belong that Exim does not find."""
    if any((entry["certificate"] or {}).get("source") == "attempt" for entry in decided):
        from eximcertd.cli.missing_file import where_to_put  # noqa: PLC0415 - only where it is needed

        for line in where_to_put(context.config(), decided):
            say(line)


def _time(text: str) -> str:
    """Return a date or time, local if it names no zone, as RFC 3339 in UTC. Raises UsageError."""
    try:
        at = datetime.fromisoformat(text.strip())
        utc = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a date or time", hint="give 2027-01-31 or 2027-01-31T18:00") from None
    if utc < datetime.now(UTC) - timedelta(days=1):
        raise UsageError(f"{text!r} is in the past", hint="to revoke a certificate now, use eximcertctl revoke")
    return f"{utc:%Y-%m-%dT%H:%M:%SZ}"
