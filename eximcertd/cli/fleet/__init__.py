"""``eximcertctl fleet``: the relays of a fleet, what waits at them, and what they have decided on their own."""

from __future__ import annotations

import click

from eximcertd.cli.context import json_option
from eximcertd.cli.fleet.accept import accept
from eximcertd.cli.fleet.check import check
from eximcertd.cli.fleet.pending import pending
from eximcertd.cli.fleet.settle import settle
from eximcertd.cli.fleet.sql import command as sql


@click.group("fleet", invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show the relays of the fleet: what each has received, what its Exim honours, and what is wrong."""
    if ctx.invoked_subcommand is None:
        from eximcertd.cli.fleet import relays  # noqa: PLC0415 - the subcommands do not need it

        relays.run(ctx.obj, as_json=as_json)


for part in (pending, settle, check, accept, sql):
    command.add_command(part)
