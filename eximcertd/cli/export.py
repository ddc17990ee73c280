"""eximcertctl export."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.output import print_json_array

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command("export")
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Write every decision, oldest first, one JSON object per line, for eximcertctl import.

    With --json they are one array, which import reads too.
    """
    records = _records(context)
    if as_json:
        print_json_array(records)
        return
    for record in records:
        click.echo(json.dumps(record))


def _records(context: Context) -> Iterator[dict[str, Any]]:
    with context.client() as client:
        for portion in client.stream("Export"):
            yield from portion["records"]
