"""What approve, reject and revoke have in common: ask for one decision, say what was done."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli import outcome
from eximcertd.cli.tables import decided
from eximcertd.control.caller import name_of
from eximcertd.control.client import PUBLISH_TIMEOUT, LostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.cli.context import Context

note_option: Final = click.option("--note", default="", metavar="TEXT", help="Why; kept with the decision.")


def ask(
    context: Context, verb: str, fingerprints: Sequence[str], note: str, insist: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    """Ask for a decision and return the answer. Raises LostError, which tells how to learn the outcome."""
    parameters = {
        "verb": verb,
        "fingerprints": list(fingerprints),
        "note": note,
        "insist": list(insist),
        "request": str(uuid.uuid4()),
        "by": name_of(os.getuid(), os.getpid()),
        **more,
    }
    with context.client() as client:
        try:
            answer: dict[str, Any] = client.call("Decide", parameters, timeout=PUBLISH_TIMEOUT)
        except LostError as error:
            raise LostError(
                f"outcome unknown: {error.message}",
                hint=f"whether it was decided tells: eximcertctl show {fingerprints[0]}",
            ) from error
    return answer


def say(answer: dict[str, Any]) -> None:
    """Say what was done, with whole fingerprints, and whether Exim honours it."""
    publication = answer["publication"]
    died = publication["outcome"] == "died"
    if died:  # nothing matters more
        _say_outcome(publication)
    for entry in answer["decided"]:
        first, *others = decided(entry)
        click.echo(f"{entry['standing']:<8} {first}")
        if len(answer["decided"]) == 1:
            click.echo("\n".join(others))
    if not died:
        _say_outcome(publication)


def _say_outcome(publication: dict[str, Any]) -> None:
    live = outcome.status(publication) == 0
    for line in outcome.sentences(publication):
        click.echo(line if live else click.style(line, fg="red", bold=True), err=not live)
