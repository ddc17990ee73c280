"""eximcertctl pending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.context import Context, json_option, pass_context, print_json_array
from eximcertd.cli.tables import count, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.control.client import Client

_MOST_UNMATCHED: Final = 10


@click.command("pending")
@click.option("--all", "everything", is_flag=True, help="Show every fingerprint that matches no certificate, too.")
@json_option
@pass_context
def command(context: Context, everything: bool, as_json: bool) -> None:
    """Show what tried to relay and waits for a decision.

    First those whose certificate is found in the directory of certificates, then those of which only the
    fingerprint is known: that much strangers can make Exim say at will.
    """
    with context.client() as client:
        if as_json:
            print_json_array(_entries(client, "pending", "unmatched"))
            return
        known = _show(_entries(client, "pending"), None)
        unmatched = _show(_entries(client, "unmatched"), None if everything else _MOST_UNMATCHED)
    if unmatched > _MOST_UNMATCHED and not everything:
        click.echo(f"... and {unmatched - _MOST_UNMATCHED:,} more that match no certificate: --all shows them.\n")
    if not known + unmatched:
        click.echo("Nobody is waiting.")
    elif not known:
        click.echo(f"{count(unmatched, 'fingerprint')} without a certificate, and nobody else is waiting.")
    else:
        click.echo("Decide with: eximcertctl approve|reject FINGERPRINT (8 digits of it will do)")


def _entries(client: Client, *standings: str) -> Iterator[dict[str, Any]]:
    for portion in client.stream("List", {"standings": standings, "prefixes": []}):
        yield from portion["entries"]


def _show(entries: Iterator[dict[str, Any]], most: int | None) -> int:
    """Show the first entries and return how many there are."""
    number = 0
    for number, entry in enumerate(entries, 1):
        if most is None or number <= most:
            click.echo("\n".join(waiting(entry)) + "\n")
    return number
