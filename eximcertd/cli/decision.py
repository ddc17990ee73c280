"""What approve, reject and revoke share: ask for one decision, say what was decided and whether it is live."""

from __future__ import annotations

import os
import sys
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.arguments import names, prefixes
from eximcertd.cli.connection import each
from eximcertd.cli.formatting import count, decided, pending, wrapped
from eximcertd.cli.output import say
from eximcertd.control.caller import name_of
from eximcertd.control.client import PUBLISH_TIMEOUT, LostError
from eximcertd.errors import Exit, NoAnswerError, NoSuchFingerprintError, NotPermittedError, UsageError
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
    "expired": "Approve an expired certificate; it stays off the list while it is expired.",
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


here_option: Final = click.option("--here", is_flag=True, help="In a fleet: decide for this relay alone.")


def ask(
    context: Context,
    verb: str,
    fingerprints: Sequence[str],
    note: str,
    insist: Sequence[str] = (),
    *,
    here: bool = False,
    wait: tuple[str, float] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Ask for a decision and return the answer of Decide: the fleet, where there is one, or eximcertd.

    here: eximcertd alone. wait: for which relays, and seconds (see cli/fleet/waiting.py). Raises LostError, which says
    how to learn the outcome, where the answer was lost after sending.
    """
    if here or context.fleet() is None:
        return _ask_here(context, verb, fingerprints, note, insist, **more)
    from eximcertd.cli.fleet.asking import FleetRequest, ask_fleet  # noqa: PLC0415 - without a fleet it is not imported
    from eximcertd.cli.fleet.waiting import Wait  # noqa: PLC0415 - the same
    from eximcertd.status import Verb  # noqa: PLC0415 - the same

    asked = FleetRequest(Verb(verb), fingerprints, note, insist)
    here_at_once = partial(_ask_here, context, verb, fingerprints, note, insist, **more)
    return ask_fleet(context, asked, Wait(*(wait or ())), here_at_once)


def _ask_here(
    context: Context, verb: str, fingerprints: Sequence[str], note: str, insist: Sequence[str], **more: Any
) -> dict[str, Any]:
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
    entries = [_named(context, verb, name) for name in named]
    for entry in entries:
        say("\n".join(pending(entry)), err=True)
    hint = "give --yes, or digits of the fingerprint instead of a name"
    confirmed(f"{verb} {'it' if len(entries) == 1 else f'all {len(entries)}'}?", yes=yes, hint=hint)
    return [*found, *(entry["fingerprint"] for entry in entries)]


def _named(context: Context, verb: str, name: str) -> dict[str, Any]:
    """Return the entry of the certificate with this name. Raises NoSuchFingerprintError, NoAnswerError."""
    try:
        entry: dict[str, Any] = context.call("Find", name=name, verb=verb)["entry"]
    except (NoSuchFingerprintError, NoAnswerError) as error:
        if context.fleet() is None:
            raise
        from eximcertd.cli.fleet.resolving import claimed  # noqa: PLC0415 - without a fleet it is not imported

        raise claimed(context, name) or error from error
    return entry


def confirmed(question: str, *, yes: bool, hint: str = "give --yes") -> None:
    """Ask a person. Raises click.Abort for no, and UsageError if nobody can be asked and ``yes`` was not given."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "nothing is decided: the question is asked on a terminal only",
            hint=hint,
        )
    click.confirm(question, abort=True, err=True)


ANSWERS: Final = click.Choice(("approve", "revoke", "later"))
"""What settle asks about a set."""


def answer_of(effects: Mapping[str, str]) -> str:
    """Say what each answer does, and return a person's; "later" where there is no terminal."""
    for word, effect in effects.items():
        say(f"  {word:<8} {effect}")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "later"
    answer: str = click.prompt("Answer", type=ANSWERS, default="later")
    return answer


def check_root(option: str) -> None:
    """Raise NotPermittedError unless root runs this."""
    if os.geteuid() != 0:
        raise NotPermittedError(f"{option} is for root", hint="sudo eximcertctl ...")


def override_shrink(context: Context, answer: dict[str, Any], asked: Sequence[str] | None) -> None:
    """As root: write the list that max_shrink forbids, and have eximcertd publish again. Changes the answer.

    asked: what goes; None: all that is not approved.
    """
    from eximcertd.cli import offline  # noqa: PLC0415 - only where it is needed

    if not answer["publication"]["live"]:
        approved = None
        if asked is None:
            with context.client() as client:
                listed = each(client, "List", "entries", standings=["approved"], prefixes=[])
                approved = {one["fingerprint"] for one in listed}
        offline.override_shrink(context, asked or (), approved)
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
    say_fleet(answer.get("fleet"))
    for one in answer.get("bound") or ():
        say(f"Its authority's next certificates stay refused with this {clean(one)}")
    if not died:
        say_publication(publication)


def say_publication(publication: dict[str, Any]) -> None:
    """Say whether Exim honours the list; on standard error if not."""
    live = bool(publication["live"])
    for line in _sentences(publication):
        say(line, alarm=not live, err=not live)


def exit_status(answer: dict[str, Any]) -> Exit:
    """Return the exit status of a decision with this answer."""
    known = not (answer.get("fleet") or {"problem": None})["problem"]
    return Exit.DONE if answer["publication"]["live"] and known else Exit.NOT_YET_LIVE


def say_fleet(fleet: dict[str, Any] | None) -> None:
    """Say what the fleet decided, if there is one; on standard error that it does not know it."""
    if fleet is None:
        return
    for act in fleet["acts"]:
        settles = f", which settles {count(len(act['settles']), 'own decision')} of relays" if act["settles"] else ""
        say(f"Decided for the fleet: act {act['generation']:,} ({act['verb']}){settles}.")
    if fleet["problem"]:
        first, *others = fleet["problem"].splitlines()
        unknown = first.startswith("outcome unknown")
        what = "for the fleet:" if unknown else "and THE FLEET DOES NOT KNOW IT:"
        say(f"Decided here, {what} {clean(first)}", alarm=True, err=True)
        for line in others:
            say(f"  {clean(line.strip())}", alarm=True, err=True)
    elif not fleet["acts"]:
        say(f"The fleet had decided so before, with act {fleet['generation']:,}.")


def _sentences(publication: dict[str, Any]) -> Iterator[str]:
    if publication["live"]:
        yield _live(publication)
        return
    if publication["outcome"] == "died":
        yield clean(publication["message"])  # it begins with EXIM IS DOWN
        yield "The decision is kept. Start Exim again, then run eximcertctl check."
    else:
        by_fleet = publication["outcome"] == "fleet"
        yield f"Decided, NOT YET LIVE{'.' if by_fleet else ': Exim does not honour it yet.'}"
        step = f"{clean(publication['step'])}: " if publication["step"] else ""
        yield f"  {step}{clean(publication['message'])}"
    if publication["exim"]:
        yield "  Exim said: " + "\n             ".join(clean(line) for line in publication["exim"].splitlines())
    if publication["retry"]:
        yield f"  {clean(publication['retry'])}"


def _live(publication: dict[str, Any]) -> str:
    if publication["outcome"] == "fleet":
        return clean(publication["message"])
    if publication["outcome"] == "not-running":
        return "Exim is not running. The list takes effect when it starts."
    if publication["form"] == "directory":
        return "Exim honours it, in open sessions too (directory form)."
    revision = f", revision {publication['revision']}" if publication["revision"] else ""
    return f"Exim honours it (list form{revision})."
