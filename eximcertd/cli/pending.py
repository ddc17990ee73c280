"""eximcertctl pending for click (see quick.py)."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.pendingrun import MOST, PendingFilter, run
from eximcertd.cli.times import earlier


@click.command("pending")
@click.option("--all", "everything", is_flag=True, help=f"Show all: more than {MOST}, and those without a certificate.")
@click.option("--long", is_flag=True, help="Show several lines of each, with the warnings.")
@click.option("--since", metavar="TIME", help="Show those refused since: 2d, 12h, 30min ago, or a date.")
@click.option("--from", "peer", metavar="HOST", help="Show those whose host's name or address contains HOST.")
@json_option
@pass_context
def command(  # noqa: PLR0917 - an argument for each option
    context: Context, everything: bool, long: bool, since: str | None, peer: str | None, as_json: bool
) -> None:
    """Show the clients that were refused and wait for a decision, the latest first.

    Clients with a known certificate are shown. Any client can make Exim log the fingerprint of a certificate that
    is not known: those are only counted.
    """
    start = since and f"{earlier(since, datetime.now(UTC)):%Y-%m-%dT%H:%M:%SZ}"
    run(context, PendingFilter(everything, long, start, peer), as_json=as_json)
