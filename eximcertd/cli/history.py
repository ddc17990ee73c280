"""eximcertctl history."""

from __future__ import annotations

import click

from eximcertd.cli.arguments import prefix
from eximcertd.cli.context import Context, each, json_option, pass_context
from eximcertd.cli.formatting import record
from eximcertd.cli.output import print_json_array, say


@click.command("history")
@click.argument("fingerprint", nargs=-1, metavar="[FINGERPRINT]")
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), metavar="NUMBER", help="Show the newest NUMBER decisions only."
)
@json_option
@pass_context
def command(context: Context, fingerprint: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """Show the decisions on one fingerprint or on all, newest first: who made them, when and why."""
    asked = prefix(fingerprint) if fingerprint else None
    with context.client() as client:
        decisions = each(client, "History", "decisions", fingerprint=asked, limit=limit)
        if as_json:
            print_json_array(decisions)
            return
        number = 0
        for number, decision in enumerate(decisions, 1):  # noqa: B007 - the last number is the count
            say("\n".join(record(decision)))
        if not number:
            say("No decisions.")
