"""eximcertctl show."""

from __future__ import annotations

import click

from eximcertd.cli.arguments import fingerprint_argument, prefix
from eximcertd.cli.context import Context, json_option, pass_context, print_json
from eximcertd.cli.tables import whole


@click.command("show")
@fingerprint_argument
@json_option
@pass_context
def command(context: Context, fingerprint: tuple[str, ...], as_json: bool) -> None:
    """Show all that is known of one fingerprint: certificate, attempts, decisions."""
    asked = prefix(fingerprint)
    with context.client() as client:
        answer = client.call("Show", {"fingerprint": asked})
    if as_json:
        print_json({**answer["entry"], "history": answer["history"]})
    else:
        click.echo("\n".join(whole(answer["entry"], answer["history"])))
