"""eximcertctl watch."""

from __future__ import annotations

import json

import click

from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.formatting import pending
from eximcertd.cli.output import say
from eximcertd.cli.times import local
from eximcertd.control.client import LostError
from eximcertd.text import clean


@click.command("watch")
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Print events as they happen, until interrupted. With --json, one object per line."""
    with context.client() as client:
        try:
            for portion in client.stream("Watch", timeout=float("inf")):
                for event in portion["events"]:
                    if as_json:
                        click.echo(json.dumps(event))
                        continue
                    say(f"{local(event['at'])}  {clean(event['sentence'])}")
                    if event["entry"] is not None and event["kind"] == "seen":
                        say("\n".join(pending(event["entry"])))
        except LostError as error:
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
