"""eximcertctl undo."""

from __future__ import annotations

import os
from typing import Any

import click

from eximcertd.cli.context import Context, json_option
from eximcertd.cli.decision import ask, confirmed, exit_status, say_decision, yes_option
from eximcertd.cli.formatting import count, record
from eximcertd.cli.output import print_json, say
from eximcertd.control.caller import name_of
from eximcertd.errors import EximcertdError, NoAnswerError, RefusedError
from eximcertd.text import clean

_REVERSE = {"approve": "revoke", "revoke": "approve"}
_MOST_SHOWN = 10


@click.command("undo")
@yes_option
@json_option
@click.pass_context
def command(ctx: click.Context, yes: bool, as_json: bool) -> None:
    """Take back your own last decision: revoke what it approved, approve what it revoked. It is shown first.

    A rejection is not taken back, because Exim refuses the client before and after it: approve the certificate instead.
    """
    context: Context = ctx.obj
    decisions, current = _last(context)
    if not decisions:
        raise EximcertdError("you have made no decision that could be taken back")
    for one in decisions[:_MOST_SHOWN]:
        say("\n".join(record(one)), err=True)
    if len(decisions) > _MOST_SHOWN:
        say(f"and {len(decisions) - _MOST_SHOWN:,} more", err=True)
    first, fingerprints = decisions[0], [one["fingerprint"] for one in decisions]
    if first["verb"] in {"authorize", "withdraw"}:
        raise RefusedError(
            "a decision on an authority is not taken back by undo",
            hint="use eximcertctl authority withdraw, or authority add",
        )
    if not current:
        raise RefusedError(
            "nothing is taken back: there is a later decision on it",
            hint="see eximcertctl history, and use approve, reject or revoke",
        )
    reverse = _REVERSE.get(first["verb"])
    if reverse is None:
        raise RefusedError(
            "a rejection is not taken back: Exim refuses the client before and after it",
            hint=f"to let Exim relay for it: eximcertctl approve {fingerprints[0][:16]}",
        )
    confirmed(f"{reverse} {count(len(fingerprints), 'fingerprint')}?", yes=yes)
    answer = ask(context, reverse, fingerprints, f"takes back the decision of {first['at']}")
    (print_json if as_json else say_decision)(answer)
    ctx.exit(int(exit_status(answer)))


def _last(context: Context) -> tuple[list[dict[str, Any]], bool]:
    """Return the last decision of the caller, in a fleet the last act if that is later, and whether it still counts."""
    portions: list[Any] = []
    try:
        with context.client() as client:
            portions += client.stream("Last", {"by": name_of(os.getuid(), os.getpid())})
    except NoAnswerError:
        if context.fleet() is None:
            raise
    decisions = [one for portion in portions for one in portion["decisions"]]
    current = bool(portions and portions[0]["current"])
    if context.fleet():
        from eximcertd.cli.fleet.undoing import later  # noqa: PLC0415 - without a fleet it is not imported

        try:
            decisions, current = later(context, decisions, current)
        except EximcertdError as error:
            if not decisions:
                raise
            say(
                f"Your last decision for the fleet is not known, only that on this relay: {clean(error.line())}",
                err=True,
            )
    return decisions, current
