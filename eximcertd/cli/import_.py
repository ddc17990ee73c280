"""eximcertctl import."""

from __future__ import annotations

import os
import sys
import uuid
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import click

from eximcertd.cli.context import json_option
from eximcertd.cli.decision import exit_status, say_publication
from eximcertd.cli.formatting import count
from eximcertd.cli.import_records import ImportRecords
from eximcertd.cli.output import print_json, say
from eximcertd.control.client import PUBLISH_TIMEOUT, LostError

if TYPE_CHECKING:
    from eximcertd.cli.context import Context

_MUCH: Final = 10_000


@click.command("import")
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE]")
@json_option
@click.pass_context
def command(ctx: click.Context, file: BinaryIO, as_json: bool) -> None:
    """Import decisions that eximcertctl export wrote, or approve a plain list of fingerprints.

    Reads standard input if no FILE is given. Decisions that are already known are skipped, so an import can
    be repeated. All lines are checked first; then they are imported in portions and published together.
    """
    with _bar("Reading", _size(file)) as bar:
        records = ImportRecords(file, str(getattr(file, "name", "-")), bar.update)
    with records:
        added = _send(ctx.obj, records)
    with ctx.obj.client() as client:
        publication = client.call("Retry", timeout=PUBLISH_TIMEOUT)["publication"]
    if as_json:
        print_json({"read": records.count, "added": added, "publication": publication})
    else:
        say(f"{count(records.count, 'decision')} read, {added:,} of them new.")
        say_publication(publication)
    ctx.exit(int(exit_status(publication)))


def _send(context: Context, records: ImportRecords) -> int:
    added = sent = 0
    with context.client() as client, _bar("Importing", records.count) as bar:
        for portion in records.portions():
            try:
                answer = client.call(
                    "Import", {"records": portion, "request": str(uuid.uuid4())}, timeout=PUBLISH_TIMEOUT
                )
            except LostError as error:
                raise LostError(
                    f"outcome unknown: {error.message}",
                    hint=f"at least {sent:,} of {records.count:,} were imported; repeat the import",
                ) from error
            added += answer["added"]
            sent += len(portion)
            bar.update(len(portion))
    return added


class _NoBar:
    """A progress bar that prints nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, _: int) -> None:
        """Do nothing."""


def _bar(label: str, length: int) -> Any:
    """Return a progress bar; it prints only to a terminal, and only for a long import."""
    if not sys.stderr.isatty() or length < _MUCH:
        return _NoBar()
    return click.progressbar(length=length, label=label, file=sys.stderr)


def _size(file: BinaryIO) -> int:
    try:
        return os.fstat(file.fileno()).st_size
    except (OSError, ValueError):
        return 0
