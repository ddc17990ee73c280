"""eximcertctl fleet settle."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli import table
from eximcertd.cli.context import Context, json_option
from eximcertd.cli.decision import (
    ANSWERS,
    answer_of,
    exit_status,
    insist_options,
    insisted,
    note_option,
    say_decision,
)
from eximcertd.cli.fleet.entries import certificates, entry, rfc3339
from eximcertd.cli.formatting import WIDTH, count, digits, wrapped
from eximcertd.cli.output import print_json, say
from eximcertd.cli.times import local
from eximcertd.status import Verb, by_phrase
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.certificates.certificate import Certificate
    from eximcertd.cli.fleet.connection import DeskConnection
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.fleet.remote import OwnDecision

_EFFECTS: Final = {
    "refused": {
        "approve": "every relay approves them, also those that refuse them now",
        "revoke": "every relay keeps them refused",
        "later": "they stay refused on those relays only, until somebody decides",
    },
    "approved": {
        "approve": "every relay approves them",
        "revoke": "every relay keeps them refused",
        "later": "they stay approved on those relays only, until somebody decides",
    },
}
_MOST_SHOWN: Final = 20
_MOST_RETURNED: Final = 10_000  # see Desk.own


@click.command("settle")
@click.option("--refused", type=ANSWERS, help="The answer for what a relay has rejected or revoked.")
@click.option("--approved", type=ANSWERS, help="The answer for what only relays have approved.")
@note_option
@insist_options
@json_option
@click.pass_context
def settle(
    ctx: click.Context,
    /,
    refused: str | None,
    approved: str | None,
    note: str,
    as_json: bool,
    **insist: bool,
) -> None:
    """Decide for all relays on what some have decided alone.

    Each set is shown, with what every answer does, and one question is asked for it. Where there is no terminal, and no
    option gives the answer, nothing is decided.
    """
    from eximcertd.cli.fleet.connection import DeskConnection  # noqa: PLC0415 - only where it is called
    from eximcertd.fleet.deciding import portions  # noqa: PLC0415 - the same

    context: Context = ctx.obj
    answers, done, status = {"refused": refused, "approved": approved}, [], 0
    with DeskConnection(context) as connection:
        told = connection.desk.own()
        if _incomplete(connection, told):
            say("These may not be all own decisions of the relays: settle again afterwards.", err=True)
        open_ = sets(told)
        if as_json and not refused and not approved:
            print_json({what: _entries(connection, own) for what, own in open_.items()})
            return
        for what, own in open_.items():
            verb = answers[what] or ("later" if as_json else _asked(connection, what, own))
            if verb == "later" or not own:
                continue
            for names in portions(own):
                answer = _decide(context, verb, {name: own[name] for name in names}, note, insisted(insist))
                done.append(answer)
                status = max(status, int(exit_status(answer)))
                if not as_json:
                    say_decision(answer)
    if as_json:
        print_json(done)
    elif not any(open_.values()):
        say("No relay has decided anything on its own.")
    ctx.exit(status)


def _incomplete(connection: DeskConnection, own: Sequence[OwnDecision]) -> bool:
    """Tell whether more may be open: a relay tells at most 2,000 at once, and reports how many it has."""
    told = Counter(one.relay for one in own)
    reports = {one.name: one.report.own for one in connection.desk.relays() if one.report}
    return len(own) >= _MOST_RETURNED or any(reports.get(name, 0) > number for name, number in told.items())


def sets(own: Sequence[OwnDecision]) -> dict[str, dict[Fingerprint, list[OwnDecision]]]:
    """Return the open decisions of each fingerprint: those that a relay refuses, and those that are approved only."""
    of: dict[Fingerprint, list[OwnDecision]] = {}
    for one in own:
        of.setdefault(one.fingerprint, []).append(one)
    refused = {name for name, ones in of.items() if any(one.refuses for one in ones)}
    return {
        "refused": {name: ones for name, ones in of.items() if name in refused},
        "approved": {name: ones for name, ones in of.items() if name not in refused},
    }


def _entries(connection: DeskConnection, own: dict[Fingerprint, list[OwnDecision]]) -> list[dict[str, Any]]:
    from eximcertd.cli.fleet.entries import decision  # noqa: PLC0415
    from eximcertd.fleet.deciding import status_of  # noqa: PLC0415 - only where it is called

    newest: dict[Fingerprint, Act] = connection.desk.newest(own)
    known: dict[Fingerprint, Certificate] = certificates(connection.desk.sighted(own))
    return [
        entry(
            name,
            known.get(name),
            status_of(newest.get(name)).value,
            decision=decision(newest[name]) if name in newest else None,
            own=[_own(one) for one in ones],
        )
        for name, ones in own.items()
    ]


def _own(one: OwnDecision) -> dict[str, Any]:
    return {
        "relay": one.relay,
        "id": one.id,
        "verb": one.verb,
        "by": one.by,
        "at": rfc3339(one.at),
        "note": one.note,
        "base": one.base,
        "lost": one.lost,
    }


def _lines(one: dict[str, Any], own: Sequence[OwnDecision]) -> Iterator[str]:
    from eximcertd.fleet.deciding import described  # noqa: PLC0415 - only where it is called

    yield digits(one["fingerprint"])
    yield f"  {table.name(one)}"
    by = one["decision"] and f"{one['standing']} {by_phrase(one['decision']['by'])}, {local(one['decision']['at'])}"
    yield f"  the fleet: {by or 'has not decided'}"
    for each in own:
        yield from wrapped(f"  {local(rfc3339(each.at))}  ", described(each))


def _asked(connection: DeskConnection, what: str, own: dict[Fingerprint, list[OwnDecision]]) -> str:
    """Show a set and what each answer does, and return the answer of a person."""
    if not own:
        return "later"
    say(f"{count(len(own), 'fingerprint')} {what} by relays on their own:\n", bold=True)
    for one in _entries(connection, dict(islice(own.items(), _MOST_SHOWN))):
        for line in _lines(one, own[one["fingerprint"]]):
            say(shown(line, WIDTH))
        say("")
    if len(own) > _MOST_SHOWN:
        say(f"and {len(own) - _MOST_SHOWN:,} more, to which the answer applies too: fleet settle --json prints them.\n")
    return answer_of(_EFFECTS[what])


def _decide(
    context: Context, verb: str, own: dict[Fingerprint, list[OwnDecision]], note: str, insist: Collection[str]
) -> dict[str, Any]:
    from eximcertd.cli.fleet.asking import FleetRequest, settled  # noqa: PLC0415 - only where it is called

    seen = [one.id for ones in own.values() for one in ones if one.refuses]
    return settled(context, FleetRequest(Verb(verb), list(own), note, insist, seen))
