"""eximcertctl scan for click: its help, and the errors of a wrong call (see scanrun.py)."""

from __future__ import annotations

import click

from eximcertd.cli.context import Context, json_option
from eximcertd.cli.quick import Asked
from eximcertd.cli.scanrun import run


@click.command("scan")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--dry-run", is_flag=True, help="Print what would be added, and add nothing.")
@json_option
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Add what old logs hold to the pending list, with the logs' own times.

    The files may be packed by gzip, xz, bzip2 or zstd. What was counted before, by an earlier scan or by
    eximcertd as it followed the log, is not counted again. With --dry-run eximcertd need not run.
    """
    context: Context = ctx.obj
    given = {"--dry-run": dry_run, "--json": as_json}
    ctx.exit(run(Asked(context, "scan", files, {flag for flag, there in given.items() if there})))
