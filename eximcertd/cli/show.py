"""eximcertctl show."""

from __future__ import annotations

import click

from eximcertd.cli.arguments import fingerprint_argument, prefix
from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.formatting import whole
from eximcertd.cli.output import print_json, say


@click.command("show")
@fingerprint_argument
@json_option
@pass_context
def command(context: Context, fingerprint: tuple[str, ...], as_json: bool) -> None:
    """Show one fingerprint with its certificate, attempts and decisions."""
    answer = context.call("Show", fingerprint=prefix(fingerprint))
    if as_json:
        print_json({**answer["entry"], "history": answer["history"]})
    else:
        say("\n".join(whole(answer["entry"], answer["history"])))
