"""What approve, reject and revoke share: ask for one decision, say what was decided and whether it is live."""

from __future__ import annotations

import os
import sys
import uuid
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.arguments import names, prefixes
from eximcertd.cli.formatting import decided, pending, wrapped
from eximcertd.cli.output import say
from eximcertd.control.caller import name_of
from eximcertd.control.client import PUBLISH_TIMEOUT, LostError
from eximcertd.errors import Exit, NotPermittedError, UsageError
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from eximcertd.cli.context import Context

note_option: Final = click.option("--note", default="", metavar="TEXT", help="Why; kept with the decision.")

bind_option: Final = click.option(
    "--bind",
    type=click.Choice(["name", "key", "certificate"]),
    help="What an authority's next certificate may not have; by default both name and key.",
)
"""The option of reject and revoke."""

_RULES: Final = {
    "without-certificate": "Approve a fingerprint without a known certificate.",
    "expired": "Approve an expired certificate, though it is not on the list.",
    "ca": "Approve a certificate authority's own certificate.",
}
"""What approve refuses, each with the option that insists."""


def insist_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that insist on what a rule refuses."""
    for name, text in reversed(_RULES.items()):
        command = click.option(f"--{name}", is_flag=True, help=text)(command)
    return command


def insisted(flags: Mapping[str, bool]) -> list[str]:
    """Return the names of the insist_options that were given."""
    return [name for name in _RULES if flags.get(name.replace("-", "_"))]


def ask(
    context: Context, verb: str, fingerprints: Sequence[str], note: str, insist: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    """Ask eximcertd for a decision and return its answer.

    Raises LostError, which says how to learn the outcome, where the answer was lost after sending.
    """
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
                hint=f"to see whether it was decided: eximcertctl show {fingerprints[0]}",
            ) from error
    return answer


yes_option: Final = click.option("--yes", is_flag=True, help="Do not ask back.")


def chosen(context: Context, verb: str, given: Sequence[str], *, yes: bool) -> list[str]:
    """Return the digits that were given, and the whole fingerprints of what was named and a person has confirmed.

    Raises UsageError if nobody can be asked and ``yes`` was not given, and click.Abort.
    """
    digits, named = names(given)
    found = prefixes(digits) if digits else []
    if not named:
        return found or prefixes(given)
    with context.client() as client:
        entries = [client.call("Find", {"name": name, "verb": verb})["entry"] for name in named]
    for entry in entries:
        say("\n".join(pending(entry)), err=True)
    confirmed(f"{verb} {'it' if len(entries) == 1 else f'all {len(entries)}'}?", yes=yes)
    return [*found, *(entry["fingerprint"] for entry in entries)]


def confirmed(question: str, *, yes: bool) -> None:
    """Ask a person. Raises click.Abort for no, and UsageError if nobody can be asked and ``yes`` was not given."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "nothing is decided: this asks back, and here is no terminal",
            hint="give --yes, or digits of the fingerprint instead of a name",
        )
    click.confirm(question, abort=True, err=True)


def check_root(option: str) -> None:
    """Raise NotPermittedError unless root runs this."""
    if os.geteuid() != 0:
        raise NotPermittedError(f"{option} is for root", hint="sudo eximcertctl ...")


def override_shrink(context: Context, answer: dict[str, Any], asked: Sequence[str]) -> None:
    """As root: write the list that max_shrink forbids, and have eximcertd publish again. Changes the answer."""
    from eximcertd.cli import offline  # noqa: PLC0415 - only where it is needed

    if not answer["publication"]["live"]:
        offline.override_shrink(context, asked)
        with context.client() as client:
            answer["publication"] = client.call("Retry", timeout=PUBLISH_TIMEOUT)["publication"]


def say_decision(answer: dict[str, Any]) -> None:
    """Print the decisions, with whole fingerprints, and whether Exim honours them."""
    publication = answer["publication"]
    died = publication["outcome"] == "died"
    if died:  # first, since Exim takes no mail
        say_publication(publication)
    for entry in answer["decided"]:
        first, *others = decided(entry)
        say(f"{clean(entry['standing']):<8} {first}")
        if len(answer["decided"]) == 1:
            say("\n".join(others))
        elif entry["standing"] == "approved" and not entry["listed"]:  # the first warning says why
            say("\n".join(wrapped("         ", entry["warnings"][0])))
    for one in answer.get("bound") or ():
        say(f"Its authority's next certificates stay refused with this {clean(one)}")
    if not died:
        say_publication(publication)


def say_publication(publication: dict[str, Any]) -> None:
    """Say whether Exim honours the list; on standard error if not."""
    live = bool(publication["live"])
    for line in _sentences(publication):
        say(line, alarm=not live, err=not live)


def exit_status(publication: dict[str, Any]) -> Exit:
    """Return the exit status of a decision with this publication."""
    return Exit.DONE if publication["live"] else Exit.NOT_YET_LIVE


def _sentences(publication: dict[str, Any]) -> Iterator[str]:
    if publication["live"]:
        yield _live(publication)
        return
    if publication["outcome"] == "died":
        yield clean(publication["message"])  # it begins with EXIM IS DOWN
        yield "The decision is kept. Start Exim again, then run eximcertctl check."
    else:
        yield "Decided, NOT YET LIVE: Exim does not honour it yet."
        step = f"{clean(publication['step'])}: " if publication["step"] else ""
        yield f"  {step}{clean(publication['message'])}"
    if publication["exim"]:
        yield "  Exim said: " + "\n             ".join(clean(line) for line in publication["exim"].splitlines())
    if publication["retry"]:
        yield f"  {clean(publication['retry'])}"


def _live(publication: dict[str, Any]) -> str:
    if publication["outcome"] == "not-running":
        return "Exim is not running. The list takes effect when it starts."
    if publication["form"] == "directory":
        return "Exim honours it, in open sessions too (directory form)."
    revision = f", revision {publication['revision']}" if publication["revision"] else ""
    return f"Exim honours it (list form{revision})."
