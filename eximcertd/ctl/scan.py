"""eximcertctl scan."""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from eximcertd.ctl.context import Context, json_option, print_json
from eximcertd.ctl.scanning import Bar, Scan, known_to, to_json
from eximcertd.ctl.tables import complaint, count
from eximcertd.errors import Exit
from eximcertd.fingerprint import grouped
from eximcertd.rejection import Grammar

_SHOWN: Final = 50


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
    grammar = Grammar(context.config().log.message)
    with context.client() as client, Bar(sys.stderr, sum(map(_size, files))) as bar:
        scan = Scan(grammar, None if dry_run else client, known_to(client, dry_run=dry_run), bar)
        scan.run(files)
    for problem in scan.problems:
        click.echo(complaint(problem), err=True)
    if as_json:
        print_json(
            {
                "files": len(files),
                "bytes": scan.size,
                "attempts": scan.attempts,
                "fingerprints": len(scan.found) + scan.others,
                "added": 0 if dry_run else scan.attempts,
                "found": [to_json(fingerprint, found) for fingerprint, found in scan.found.items()],
                "problems": [problem.message for problem in scan.problems],
            }
        )
    else:
        _say(scan, dry_run=dry_run)
    ctx.exit(Exit.FAILED if scan.problems else Exit.DONE)


def _say(scan: Scan, *, dry_run: bool) -> None:
    ordered = sorted(scan.found.items(), key=lambda item: -item[1].attempts)
    for fingerprint, found in ordered[:_SHOWN] if dry_run else []:
        times = [f"{at.astimezone():%Y-%m-%d %H:%M}" for at in (found.first, found.last) if at is not None]
        click.echo(f"{grouped(fingerprint)}\n  {count(found.attempts, 'attempt')}, {' to '.join(times)}")
    if dry_run and len(ordered) + scan.others > _SHOWN:
        click.echo(f"and {len(ordered) + scan.others - _SHOWN:,} more")
    what = f"{count(scan.attempts, 'attempt')} of {count(len(ordered) + scan.others, 'certificate')}"
    if not scan.attempts:
        click.echo("Nothing that was not counted before.")
    elif dry_run:
        click.echo(f"{what} would be added.")
    else:
        click.echo(f"{what} added; see eximcertctl pending.")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - pathlib costs more than the look
    except OSError:
        return 0
