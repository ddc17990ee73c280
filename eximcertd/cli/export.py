"""eximcertctl export."""

from __future__ import annotations

import json

import click

from eximcertd.cli.context import Context, each, json_option, pass_context
from eximcertd.cli.output import print_json_array


@click.command("export")
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Write every decision, oldest first, one JSON object per line, for eximcertctl import.

    With --json they are one array, which import reads too.
    """
    with context.client() as client:
        records = each(client, "Export", "records")
        if as_json:
            print_json_array(records)
            return
        for record in records:
            click.echo(json.dumps(record))
