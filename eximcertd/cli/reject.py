"""eximcertctl reject."""

from __future__ import annotations

import click

from eximcertd.cli import outcome
from eximcertd.cli.arguments import fingerprints_argument, prefixes
from eximcertd.cli.context import json_option, print_json
from eximcertd.cli.decide import ask, note_option, say


@click.command("reject")
@fingerprints_argument
@note_option
@json_option
@click.pass_context
def command(ctx: click.Context, fingerprints: tuple[str, ...], note: str, as_json: bool) -> None:
    """Keep a certificate refused, and off the pending list. It can be approved later all the same."""
    answer = ask(ctx.obj, "reject", prefixes(fingerprints), note)
    if as_json:
        print_json(answer)
    else:
        say(answer)
    ctx.exit(int(outcome.status(answer["publication"])))
