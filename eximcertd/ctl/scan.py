"""eximcertctl scan."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from eximcertd.ctl.context import Context, json_option, pass_context, print_json
from eximcertd.ctl.scanning import Found, Outcome, scan
from eximcertd.errors import Exit, NoAnswerError
from eximcertd.log.backlog import Backlog
from eximcertd.log.segment import from_json
from eximcertd.rejection import Grammar

if TYPE_CHECKING:
    from eximcertd.control.client import Client

_SHOWN = 20


@click.command("scan")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--dry-run", is_flag=True, help="Print what would be added, and add nothing.")
@json_option
@pass_context
def command(context: Context, files: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Add what old logs hold to the pending list, with the logs' own times.

    The files may be packed by gzip, xz, bzip2 or zstd. Whatever was counted before, by an earlier scan or by
    eximcertd as it followed the log, is not counted again. With --dry-run eximcertd need not run.
    """
    client = context.client()
    grammar = Grammar(context.config().log.message)
    with client:
        known = _known(client, dry_run=dry_run)
        outcome = scan(files, Backlog(grammar, known), known, None if dry_run else client)
    if as_json:
        print_json(outcome.to_json())
    else:
        _say(outcome, dry_run=dry_run)
    sys.exit(Exit.FAILED if outcome.problems else Exit.DONE)


def _known(client: Client, *, dry_run: bool) -> list[Any]:
    """Return the segments that were counted. Raises EximcertdError."""
    try:
        return [
            from_json(json.loads(segment)) for portion in client.stream("Segments") for segment in portion["segments"]
        ]
    except NoAnswerError:
        if not dry_run:
            raise
        click.echo("eximcertctl: eximcertd does not answer: what it has counted before is not left out", err=True)
        return []
