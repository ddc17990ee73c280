"""eximcertctl import."""

from __future__ import annotations

import os
import sys
import uuid
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import click

from eximcertd.cli import outcome
from eximcertd.cli.context import json_option, print_json
from eximcertd.cli.records import Records
from eximcertd.cli.tables import count
from eximcertd.control.client import PUBLISH_TIMEOUT, LostError

if TYPE_CHECKING:
    from eximcertd.cli.context import Context

_MUCH: Final = 10_000


@click.command("import")
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE]")
@json_option
@click.pass_context
def command(ctx: click.Context, file: BinaryIO, as_json: bool) -> None:
    """Take decisions that eximcertctl export wrote, or a bare list of fingerprints, which are approved.

    Reads standard input where no FILE is given. A decision that is known already is passed over, so that
    an import can be repeated. All lines are checked before the first is taken; then they are taken in
    portions, and published together.
    """
    with _bar("Reading", _size(file)) as bar:
        records = Records(file, str(getattr(file, "name", "-")), bar.update)
    with records:
        added = _send(ctx.obj, records)
    with ctx.obj.client() as client:
        publication = client.call("Retry", timeout=PUBLISH_TIMEOUT)["publication"]
    if as_json:
        print_json({"read": records.count, "added": added, "publication": publication})
    else:
        _say(records.count, added, publication)
    ctx.exit(int(outcome.status(publication)))


def _send(context: Context, records: Records) -> int:
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
                    hint=f"at least {sent:,} of {records.count:,} were taken; the import can be repeated",
                ) from error
            added += answer["added"]
            sent += len(portion)
            bar.update(len(portion))
    return added


def _say(read: int, added: int, publication: dict[str, Any]) -> None:
    click.echo(f"{count(read, 'decision')} read, {added:,} of them new.")
    live = bool(publication["live"])
    for line in outcome.sentences(publication):
        click.echo(line if live else click.style(line, fg="red", bold=True), err=not live)


class _Silence:
    """A progress bar where nobody is looking."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, _: int) -> None:
        """Do nothing."""


def _bar(label: str, length: int) -> Any:
    """Return a progress bar on standard error, if that is a terminal and there is much to do."""
    if not sys.stderr.isatty() or length < _MUCH:
        return _Silence()
    return click.progressbar(length=length, label=label, file=sys.stderr)


def _size(file: BinaryIO) -> int:
    try:
        return os.fstat(file.fileno()).st_size
    except (OSError, ValueError):
        return 0
