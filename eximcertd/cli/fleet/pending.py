"""eximcertctl fleet pending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli import table
from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.fleet.entries import certificates, entry, rfc3339
from eximcertd.cli.formatting import count, wrapped
from eximcertd.cli.formatting import pending as lines_of
from eximcertd.cli.output import print_json_array, say
from eximcertd.cli.pendingrun import MOST, print_table, width
from eximcertd.cli.times import EXACT, local

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.fleet.remote import Sighted

_EVERY: Final = 10_000
_LONGEST: Final = 30


@click.command("pending")
@click.option("--all", "everything", is_flag=True, help=f"Show all: more than {MOST}, and those without a certificate.")
@click.option("--long", is_flag=True, help="Show several lines of each, with the warnings.")
@json_option
@pass_context
def pending(context: Context, everything: bool, long: bool, as_json: bool) -> None:
    """Show the clients that wait at any relay, the latest first.

    The certificates are read from what the relays have sent, and each is shown only if its fingerprint is right.
    """
    from eximcertd.cli.fleet.connection import DeskConnection  # noqa: PLC0415 - only where it is called

    with DeskConnection(context) as connection:
        sighted = connection.desk.pending(_EVERY if everything or as_json else MOST)
    entries = waiting(sighted)
    if as_json:
        print_json_array(entries)
        return
    shown = entries if everything else [one for one in entries if one["certificate"]]
    if long:
        for one in shown:
            say("\n".join([*lines_of(one), *wrapped("  at ", _relays(one))]) + "\n")
    elif shown:
        print_table(table.render(_columns(shown), [_row(one) for one in shown], width()))
        if legend := table.legend(shown):
            say(legend)
    if unmatched := len(entries) - len(shown):
        say(f"{count(unmatched, 'fingerprint')} without a certificate: --all shows them.")
    if len({one.fingerprint for one in sighted}) == (_EVERY if everything else MOST):
        say("There may be more." if everything else "There may be more: --all shows them.")
    if shown:
        say("Decide with: eximcertctl approve|reject FINGERPRINT")
    elif not entries:
        say("No client is waiting.")


def waiting(sighted: Iterable[Sighted]) -> list[dict[str, Any]]:
    """Return an Entry of the interface for each fingerprint, with a key ``relays``: what each relay has seen."""
    sighted = list(sighted)
    of: dict[Fingerprint, list[Sighted]] = {}
    for one in sighted:
        of.setdefault(one.fingerprint, []).append(one)
    known = certificates(sighted)
    entries = []
    for name, ones in of.items():
        latest = max(ones, key=lambda one: one.last_seen)
        relays = [
            {
                "relay": one.relay,
                "attempts": one.attempts,
                "first_seen": rfc3339(one.first_seen),
                "last_seen": rfc3339(one.last_seen),
                "from": _peer(one),
            }
            for one in sorted(ones, key=lambda one: one.relay)
        ]
        entries.append(
            {
                **entry(name, known.get(name), "pending", relays=relays),
                "attempts": sum(one.attempts for one in ones),
                "first_seen": rfc3339(min(one.first_seen for one in ones)),
                "last_seen": rfc3339(latest.last_seen),
                "from": _peer(latest),
            }
        )
    _mark_same_names(entries)
    return sorted(entries, key=lambda one: str(one["last_seen"]), reverse=True)


def _mark_same_names(entries: Sequence[dict[str, Any]]) -> None:
    of: dict[str, list[str]] = {}
    for one in entries:
        if one["certificate"] and one["certificate"]["subject"]:
            of.setdefault(one["certificate"]["subject"], []).append(one["fingerprint"])
    for one in entries:
        if one["certificate"]:
            same = of.get(one["certificate"]["subject"], ())
            one["same_name"] = [other for other in same if other != one["fingerprint"]][:5]


def _peer(one: Sighted) -> dict[str, str] | None:
    if one.host is None:
        return None
    return {"host": one.host, "helo": one.helo or "", "sender": one.sender or "", "recipient": one.recipient or ""}


def _relays(entry: dict[str, Any]) -> str:
    return ", ".join(f"{one['relay']} {one['attempts']}" for one in entry["relays"])


def _columns(entries: Sequence[dict[str, Any]]) -> Sequence[table.Column]:
    marks = max(len(table.marks(one)) for one in entries)
    return (
        table.Column("FINGERPRINT", table.SHORT),
        table.Column("NAME", 14, grows=True),
        table.Column("LAST", EXACT),
        table.Column("COUNT", 5, right=True),
        table.Column("AT RELAY", 14, grows=True),
        table.Column("", marks),
    )


def _row(entry: dict[str, Any]) -> Sequence[str]:
    fingerprint, last = entry["fingerprint"][: table.SHORT], local(entry["last_seen"])
    marks = table.marks(entry)
    each = _relays(entry)
    where = f"{len(entry['relays'])} relays" if len(entry["relays"]) > 1 and len(each) > _LONGEST else each
    return fingerprint, table.name(entry), last, table.attempts(entry["attempts"]), where, marks
