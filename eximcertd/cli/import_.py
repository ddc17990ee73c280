"""eximcertctl import."""

from __future__ import annotations

import sys
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from eximcertd.cli.context import json_option
from eximcertd.cli.decision import exit_status, insist_options, insisted, say_publication
from eximcertd.cli.formatting import count
from eximcertd.cli.import_records import ImportRecords
from eximcertd.cli.output import print_json, say
from eximcertd.control.client import PUBLISH_TIMEOUT, LostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.cli.context import Context

_LONG: Final = 10_000
"""Records from which on a terminal gets a progress bar."""


@click.command("import")
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE]")
@insist_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, file: BinaryIO, as_json: bool, **insist: bool) -> None:
    """Import decisions that eximcertctl export wrote, or approve a plain list of fingerprints.

    Reads standard input if no FILE is given. Decisions that are already known are skipped, so an import can
    be repeated. All lines are checked first; then they are imported in portions and published together.
    """
    with ImportRecords(file, str(getattr(file, "name", "-"))) as records:
        added, older = _send(ctx.obj, records, insisted(insist))
    with ctx.obj.client() as client:
        answer = client.call("Retry", timeout=PUBLISH_TIMEOUT)
    if as_json:
        print_json({"read": records.count, "added": added, "older": older, "publication": answer["publication"]})
    else:
        say(f"{count(records.count, 'decision')} read, {added:,} of them new.")
        if older:
            say(f"{count(older, 'decision')} left out: the ledger has newer ones on the same fingerprints.")
        say_publication(answer["publication"])
    ctx.exit(int(exit_status(answer)))


def _send(context: Context, records: ImportRecords, insist: Sequence[str]) -> tuple[int, int]:
    """Import the records; return how many were new, and how many were older than the ledger's own."""
    added = older = sent = 0
    with context.client() as client, _bar(records.count) as bar:
        for portion in records.portions():
            parameters = {"records": portion, "request": str(uuid.uuid4()), "insist": list(insist)}
            try:
                answer = client.call("Import", parameters, timeout=PUBLISH_TIMEOUT)
            except LostError as error:
                raise LostError(
                    f"outcome unknown: {error.message}",
                    hint=f"at least {sent:,} of {records.count:,} were imported; repeat the import",
                ) from error
            added += answer["added"]
            older += answer["older"]
            sent += len(portion)
            if bar is not None:
                bar.update(len(portion))
    return added, older


def _bar(length: int) -> Any:
    """Return a progress bar, or None where nobody waits at a terminal."""
    if not sys.stderr.isatty() or length < _LONG:
        return nullcontext()
    return click.progressbar(length=length, label="Importing", file=sys.stderr)
