"""eximcertctl list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli import table
from eximcertd.cli.arguments import prefixes
from eximcertd.cli.context import Context, each, json_option, pass_context
from eximcertd.cli.formatting import count, decided, pending
from eximcertd.cli.output import print_json_array, say
from eximcertd.cli.pendingrun import print_table, width
from eximcertd.cli.times import earlier, local, moment
from eximcertd.errors import EximcertdError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    help="List this standing. Can be repeated.",
)
@click.option("--all", "everything", is_flag=True, help="List every standing.")
@click.option("--unused", metavar="TIME", help="List the approved ones that were not used for so long, such as 180d.")
@click.option("--at", metavar="DATE", help="List those that could relay then: a date, a time, or 30d ago.")
@click.option("--long", is_flag=True, help="Show several lines of each, with the warnings.")
@json_option
@pass_context
def command(  # noqa: PLR0917 - an argument for each option
    context: Context,
    fingerprints: tuple[str, ...],
    chosen: tuple[str, ...],
    everything: bool,
    unused: str | None,
    at: str | None,
    long: bool,
    as_json: bool,
) -> None:
    """List the approved certificates, with who approved them, when and why.

    With FINGERPRINT, every fingerprint that begins so is listed, whatever its standing. With --json every standing is
    listed, unless --standing names some.
    """
    if at is not None:
        if fingerprints or chosen or everything:
            raise UsageError("--at can be combined with --long and --json only")
        _approved_at(context, earlier(at, datetime.now(UTC)), long=long, as_json=as_json)
        return
    if unused is not None:
        if fingerprints or chosen or everything:
            raise UsageError("--unused can be combined with --long and --json only")
        _not_used(context, earlier(unused, datetime.now(UTC)), long=long, as_json=as_json)
        return
    asked = prefixes(fingerprints) if fingerprints else []
    every = everything or asked or as_json
    standings = [
        standing for standing in _STANDINGS if standing in (chosen or (_STANDINGS if every else ("approved",)))
    ]
    with context.client() as client:
        if as_json:
            print_json_array(entry for standing in standings for entry in _entries(client, standing, asked))
            return
        found = {standing: list(_entries(client, standing, asked)) for standing in standings}
    for standing, entries in found.items():
        if entries:
            say(f"{standing.capitalize()}:\n", bold=True)
            _show(standing, entries, long=long)
    if not any(found.values()):
        say("Nothing to list." if every or chosen else "No certificate is approved.")


def _approved_at(context: Context, at: datetime, *, long: bool, as_json: bool) -> None:
    time = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    with context.client() as client:
        found = each(client, "List", "entries", standings=[], prefixes=[], at=time)
        if as_json:
            print_json_array(found)
            return
        entries = list(found)
    say(f"On {local(time)} {count(len(entries), 'certificate')} could relay.", bold=True)
    if entries:
        _show("approved", entries, long=long)


def _not_used(context: Context, since: datetime, *, long: bool, as_json: bool) -> None:
    """List the certificates that were approved before this time and not used later. Raises EximcertdError."""
    with context.client() as client:
        counted = moment(client.call("Status")["status"]["log"]["uses_since"])
        if counted is None:
            raise EximcertdError(
                "which certificates are not used is not known: Exim has logged no use of any",
                hint="eximcertd(8), WHO STILL RELAYS, has the line for its configuration",
            )
        entries = [entry for entry in _entries(client, "approved", []) if not _after(entry, since)]
    if counted > since:
        say(f"Uses are counted since {local(counted.isoformat())} only: what was used before is not known.", err=True)
    if as_json:
        print_json_array(entries)
    elif entries:
        _show("approved", entries, long=long)
    else:
        say(f"No certificate that was approved before {local(since.isoformat())} is unused since.")


def _after(entry: dict[str, Any], since: datetime) -> bool:
    """Tell whether an entry was used, or approved, at a time or later."""
    times = (moment(entry["last_used"]), moment((entry["decision"] or {}).get("at")))
    return any(at is not None and at >= since for at in times)


def _show(standing: str, entries: Sequence[dict[str, Any]], *, long: bool) -> None:
    if long:
        for entry in entries:
            say("\n".join((pending if standing == "pending" else decided)(entry)) + "\n")
        return
    if standing == "pending":
        print_table(table.waiting(entries, width(), None))
    else:
        latest = sorted(entries, key=lambda entry: str((entry["decision"] or {}).get("at")), reverse=True)
        print_table(table.decided(latest, width()))
    say(f"{legend}\n" if (legend := table.legend(entries)) else "")


def _entries(client: Client, standing: str, asked: list[str]) -> Iterator[dict[str, Any]]:
    return each(client, "List", "entries", standings=_STANDINGS[standing], prefixes=asked)
