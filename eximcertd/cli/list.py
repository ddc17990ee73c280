"""eximcertctl list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.arguments import prefixes
from eximcertd.cli.context import Context, json_option, pass_context, print_json_array
from eximcertd.cli.tables import decided, waiting

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
    help="Those alone; can be given more than once.",
)
@json_option
@pass_context
def command(context: Context, fingerprints: tuple[str, ...], chosen: tuple[str, ...], as_json: bool) -> None:
    """List every fingerprint, with its standing; or of those alone whose fingerprint begins so."""
    asked = prefixes(fingerprints) if fingerprints else []
    standings = [standing for standing in _STANDINGS if standing in chosen or not chosen]
    with context.client() as client:
        if as_json:
            print_json_array(entry for standing in standings for entry in _entries(client, standing, asked))
            return
        if not sum([_show(client, standing, asked) for standing in standings]):
            click.echo("There is nothing to list.")


def _show(client: Client, standing: str, asked: list[str]) -> int:
    number = 0
    for number, entry in enumerate(_entries(client, standing, asked), 1):
        if number == 1:
            click.echo(click.style(f"{standing.capitalize()}:", bold=True) + "\n")
        click.echo("\n".join((waiting if standing == "pending" else decided)(entry)) + "\n")
    return number


def _entries(client: Client, standing: str, asked: list[str]) -> Iterator[dict[str, Any]]:
    for portion in client.stream("List", {"standings": _STANDINGS[standing], "prefixes": asked}):
        yield from portion["entries"]
