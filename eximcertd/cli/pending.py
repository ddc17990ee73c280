"""eximcertctl pending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.context import Context, each, json_option, pass_context
from eximcertd.cli.formatting import count, pending
from eximcertd.cli.output import print_json_array, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.control.client import Client

_MOST_UNMATCHED: Final = 10


@click.command("pending")
@click.option("--all", "everything", is_flag=True, help="Show every fingerprint without a certificate too.")
@json_option
@pass_context
def command(context: Context, everything: bool, as_json: bool) -> None:
    """Show the clients that were refused and wait for a decision.

    Clients with a known certificate come first. Fingerprints without one follow; any client can make Exim log
    such a fingerprint.
    """
    with context.client() as client:
        if as_json:
            print_json_array(_entries(client, "pending", "unmatched"))
            return
        known, peers = _show(_entries(client, "pending"), None)
        unmatched, _ = _show(_entries(client, "unmatched"), None if everything else _MOST_UNMATCHED)
    if unmatched > _MOST_UNMATCHED and not everything:
        say(f"... and {unmatched - _MOST_UNMATCHED:,} more without a certificate: --all shows them.\n")
    if known and not peers:
        say("The log does not tell which hosts these are: eximcertctl check says what log_selector lacks.\n")
    if not known + unmatched:
        say("No client is waiting.")
    elif not known:
        say(f"{count(unmatched, 'fingerprint')} without a certificate; no other client is waiting.")
    else:
        say("Decide with: eximcertctl approve|reject FINGERPRINT (the first 8 digits suffice)")


def _entries(client: Client, *standings: str) -> Iterator[dict[str, Any]]:
    return each(client, "List", "entries", standings=standings, prefixes=[])


def _show(entries: Iterator[dict[str, Any]], most: int | None) -> tuple[int, int]:
    """Show the first entries; return how many there are, and of how many the host is known."""
    number = peers = 0
    for number, entry in enumerate(entries, 1):
        peers += entry["from"] is not None
        if most is None or number <= most:
            say("\n".join(pending(entry)) + "\n")
    return number, peers
