"""eximcertctl history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eximcertd.cli.arguments import prefix
from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.formatting import record
from eximcertd.cli.output import print_json_array, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.control.client import Client


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
        decisions = _decisions(client, asked, limit)
        if as_json:
            print_json_array(decisions)
            return
        number = 0
        for number, decision in enumerate(decisions, 1):  # noqa: B007 - the last number is the count
            say("\n".join(record(decision)))
        if not number:
            say("No decisions.")


def _decisions(client: Client, asked: str | None, limit: int | None) -> Iterator[dict[str, Any]]:
    for portion in client.stream("History", {"fingerprint": asked, "limit": limit}):
        yield from portion["decisions"]
