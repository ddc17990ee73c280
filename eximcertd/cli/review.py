"""eximcertctl review."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from eximcertd.cli.arguments import prefix
from eximcertd.cli.context import Context, each
from eximcertd.cli.decision import ask, exit_status, say_decision
from eximcertd.cli.formatting import complaint, whole
from eximcertd.cli.output import print_json_array, say
from eximcertd.cli.pendingrun import MOST
from eximcertd.errors import EximcertdError, UsageError

_KEYS: Final = {"a": "approve", "r": "reject", "l": "later", "n": "note", "q": "quit"}
_LOG_ONLY_DIGITS: Final = 16


@click.command("review")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: what there is to review.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Go through the clients that wait, one after the other, and decide by a key.

    Nothing is sent before a key is pressed. Nothing is drawn over: the text goes on downwards, for a screen reader too.
    """
    context: Context = ctx.obj
    with context.client() as client:
        entries = list(each(client, "List", "entries", standings=["pending"], prefixes=[], newest=MOST))
    if as_json:
        print_json_array(entries)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("review needs a terminal", hint="eximcertctl pending --long prints what waits")
    status = 0
    for number, entry in enumerate(entries, 1):
        say(f"\n{number} of {len(entries)}", bold=True)
        answered = _review(context, entry)
        if answered is None:
            break
        status = max(status, answered)
    else:
        more = f"These were the newest {MOST}: review again for more."
        last = more if len(entries) == MOST else "That was the last one."
        say(last if entries else "No client is waiting.")
    ctx.exit(status)


def _review(context: Context, entry: dict[str, Any]) -> int | None:
    """Show an entry and do what a person answers. Return the exit status, None to quit."""
    answer = context.call("Show", fingerprint=entry["fingerprint"])
    if answer["entry"]["standing"] != "pending":
        say("Decided by somebody else meanwhile.")
        return 0
    say("\n".join(whole(answer["entry"], answer["history"])))
    note = ""
    while True:
        say("a approve, r reject, l later, n note, q quit: ", end="")
        key = _KEYS.get(click.getchar().lower())
        say(key or "?")
        if key == "note":
            note = click.prompt("Note", default="", show_default=False)
        elif key == "later":
            return 0
        elif key == "quit":
            return None
        elif key and (key == "reject" or _compared(answer["entry"])):
            return _decide(context, key, entry["fingerprint"], note)


def _compared(entry: dict[str, Any]) -> bool:
    """Have the digits typed that the owner has told, if only the client itself has shown the certificate."""
    if (entry["certificate"] or {}).get("source") != "attempt":
        return True
    typed = click.prompt("Only the client has shown this certificate. The first 16 digits, as its owner tells them")
    try:
        digits = prefix([typed])
    except UsageError as error:
        say(complaint(error), err=True)
        return False
    same = len(digits) >= _LOG_ONLY_DIGITS and entry["fingerprint"].startswith(digits)
    if not same:
        say("These are not the first 16 digits of this fingerprint: nothing is decided.", alarm=True)
    return same


def _decide(context: Context, verb: str, fingerprint: str, note: str) -> int:
    try:
        answer = ask(context, verb, [fingerprint], note)
    except EximcertdError as error:
        say(complaint(error, verb), err=True)
        return int(error.exit_status)
    say_decision(answer)
    return int(exit_status(answer))
