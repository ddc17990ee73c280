"""eximcertctl settle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli import table
from eximcertd.cli.context import Context, json_option
from eximcertd.cli.decision import ANSWERS, answer_of, ask, exit_status, note_option, say_decision
from eximcertd.cli.formatting import count
from eximcertd.cli.output import print_json, say
from eximcertd.cli.pendingrun import MOST, print_table, width

if TYPE_CHECKING:
    from collections.abc import Sequence

_EFFECTS: Final = {
    "removed": {
        "approve": "they are put back, and Exim relays for them again",
        "revoke": "they stay off the list, and a restored file does not readmit them",
        "later": "they stay off the list until somebody decides",
    },
    "added": {
        "approve": "they stay on the list, approved by you",
        "revoke": "they are taken off the list, and Exim relays for them no more",
        "later": "they stay on the list, adopted by hand",
    },
}


@click.command("settle")
@click.option("--removed", type=ANSWERS, help="The answer for what was removed by hand.")
@click.option("--added", type=ANSWERS, help="The answer for what was added by hand.")
@note_option
@json_option
@click.pass_context
def command(ctx: click.Context, removed: str | None, added: str | None, note: str, as_json: bool) -> None:
    """Decide at once on everything that manual edits removed from the list or added to it.

    Each set is shown, with what every answer does, and one question is asked for it. Where there is no terminal, and no
    option gives the answer, nothing is decided.
    """
    context: Context = ctx.obj
    edits, total = _edits(context)
    answers, status, done = {"removed": removed, "added": added}, 0, {}
    if as_json and not removed and not added:
        print_json({**edits, **total})
        return
    if not as_json and not any(edits.values()):
        say("Nothing was removed or added by hand.")
    for what, entries in edits.items():
        if not entries:
            continue
        verb = answers[what] or ("later" if as_json else _asked(what, entries, total[f"{what}_total"]))
        if verb == "later":
            continue
        done[what] = answer = ask(context, verb, [entry["fingerprint"] for entry in entries], note, here=True)
        if not as_json:
            say_decision(answer)
        status = max(status, int(exit_status(answer)))
    if as_json:
        print_json(done)
    ctx.exit(status)


def _edits(context: Context) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
    """Return the entries that were removed and added, as many as one decision takes, and how many there are."""
    edits: dict[str, list[dict[str, Any]]] = {"removed": [], "added": []}
    with context.client() as client:
        for portion in client.stream("Edits"):
            for what, entries in edits.items():
                entries.extend(portion[what])
    return edits, {key: portion[key] for key in ("removed_total", "added_total")}


def _asked(what: str, entries: Sequence[dict[str, Any]], total: int) -> str:
    """Show a set and what each answer does, and return the answer of a person."""
    say(f"{count(total, 'fingerprint')} {what} by hand:", bold=True)
    print_table(table.decided(entries[:MOST], width()))
    if len(entries) > MOST:
        say(f"and {len(entries) - MOST:,} more: settle --json prints them.")
    if total > len(entries):
        say(f"The answer concerns {len(entries):,} of them: afterwards settle again.")
    return answer_of(_EFFECTS[what])
