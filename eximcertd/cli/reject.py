"""eximcertctl reject."""

from __future__ import annotations

import click

from eximcertd.cli.arguments import fingerprints_argument
from eximcertd.cli.context import json_option
from eximcertd.cli.decision import (
    ask,
    bind_option,
    chosen,
    exit_status,
    here_option,
    note_option,
    say_decision,
    yes_option,
)
from eximcertd.cli.output import print_json


@click.command("reject")
@fingerprints_argument
@note_option
@bind_option
@here_option
@yes_option
@json_option
@click.pass_context
def command(  # noqa: PLR0917 - an argument for each option
    ctx: click.Context, fingerprints: tuple[str, ...], note: str, bind: str | None, here: bool, yes: bool, as_json: bool
) -> None:
    """Keep a certificate refused and take it off the pending list. It can still be approved later."""
    answer = ask(ctx.obj, "reject", chosen(ctx.obj, "reject", fingerprints, yes=yes), note, bind=bind, here=here)
    (print_json if as_json else say_decision)(answer)
    ctx.exit(int(exit_status(answer)))
