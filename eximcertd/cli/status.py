"""eximcertctl status for click (see quick.py)."""

from __future__ import annotations

import click

from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.statusrun import run


@click.command("status")
@json_option
@pass_context
def command(context: Context, as_json: bool) -> None:
    """Show the state of eximcertd, the log and Exim's list."""
    run(context, as_json=as_json)
