"""eximcertctl list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.arguments import prefixes
from eximcertd.cli.context import Context, each, json_option, pass_context
from eximcertd.cli.formatting import decided, pending
from eximcertd.cli.output import print_json_array, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.control.client import Client

_STANDINGS: Final = {
    "approved": ("approved",),
    "pending": ("pending", "unmatched"),
    "rejected": ("rejected",),
    "revoked": ("revoked",),
}


@click.command("list")
@click.argument("fingerprints", nargs=-1, metavar="[FINGERPRINT...]")
@click.option(
    "--standing",
    "chosen",
    type=click.Choice(tuple(_STANDINGS)),
    multiple=True,
    help="List this standing only. Can be repeated.",
)
@json_option
@pass_context
def command(context: Context, fingerprints: tuple[str, ...], chosen: tuple[str, ...], as_json: bool) -> None:
    """List every fingerprint with its status, or those that begin with FINGERPRINT."""
    asked = prefixes(fingerprints) if fingerprints else []
    standings = [standing for standing in _STANDINGS if standing in chosen or not chosen]
    with context.client() as client:
        if as_json:
            print_json_array(entry for standing in standings for entry in _entries(client, standing, asked))
            return
        if not sum([_show(client, standing, asked) for standing in standings]):
            say("Nothing to list.")


def _show(client: Client, standing: str, asked: list[str]) -> int:
    number = 0
    for number, entry in enumerate(_entries(client, standing, asked), 1):
        if number == 1:
            say(f"{standing.capitalize()}:\n", bold=True)
        say("\n".join((pending if standing == "pending" else decided)(entry)) + "\n")
    return number


def _entries(client: Client, standing: str, asked: list[str]) -> Iterator[dict[str, Any]]:
    return each(client, "List", "entries", standings=_STANDINGS[standing], prefixes=asked)
