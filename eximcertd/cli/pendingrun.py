"""eximcertctl pending: asking and printing. Without click (see quick.py)."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd.cli import table
from eximcertd.cli.connection import each
from eximcertd.cli.formatting import count, pending, wrapped
from eximcertd.cli.output import print_json_array, say
from eximcertd.text import clean, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eximcertd.cli.connection import Context
    from eximcertd.control.client import Client

MOST: Final = 100
"""Entries that are shown without --all: what is not shown is not fetched."""

_EVERY: Final = 100_000
_LONGEST_NAME: Final = 200
_NARROWEST: Final = 60
_WITHOUT_TERMINAL: Final = 120


class PendingFilter(NamedTuple):
    """What to show. since: of the last attempt, RFC 3339 in UTC, or None. peer: part of the client's host, or None."""

    everything: bool = False
    long: bool = False
    since: str | None = None
    peer: str | None = None


def run(context: Context, wanted: PendingFilter, *, as_json: bool) -> None:
    """Print the clients that wait. Raises EximcertdError."""
    some: dict[str, Any] = {"since": wanted.since, "from": wanted.peer}
    with context.client() as client:
        if as_json:
            newest = _EVERY if wanted.since or wanted.peer else None
            print_json_array(_entries(client, ["pending", "unmatched"], newest=newest, **some))
            return
        grouped = not (wanted.everything or wanted.long or wanted.since or wanted.peer)
        issuers = client.call("Issuers")["issuers"] if grouped else []
        some["without"] = [one["hash"] for one in issuers]
        known, unmatched = (
            client.call("Count", {"standings": [standing], **some})["count"] for standing in ("pending", "unmatched")
        )
        standings = [name for name, there in (("pending", known), ("unmatched", wanted.everything)) if there]
        newest = _EVERY if wanted.everything else MOST
        entries = list(_entries(client, standings, newest=newest, **some)) if standings else []
    if wanted.long:
        for entry in entries:
            say("\n".join(pending(entry)) + "\n")
    elif entries:
        print_table(table.waiting(entries, width(), datetime.now(UTC) if sys.stdout.isatty() else None))
    for one in issuers:
        say("\n".join(wrapped("", _group(one))))
    for sentence in _sentences(entries, known, unmatched, wanted):
        say(sentence)
    if not known and not issuers:
        say("No other client is waiting." if unmatched else "No client is waiting.")


def _entries(client: Client, standings: Sequence[str], **some: Any) -> Iterator[dict[str, Any]]:
    return each(client, "List", "entries", standings=standings, prefixes=[], **some)


def _sentences(entries: Sequence[dict[str, Any]], known: int, unmatched: int, wanted: PendingFilter) -> Iterator[str]:
    """Yield what the table does not say."""
    left = known + (unmatched if wanted.everything else 0) - len(entries)
    if left > 0:
        yield f"and {left:,} more: {'--since and --from narrow the list' if wanted.everything else '--all shows them'}."
    if unmatched and not wanted.everything:
        yield f"{count(unmatched, 'fingerprint')} without a certificate: --all shows them."
    if entries and not wanted.long and (legend := table.legend(entries)):
        yield legend
    if known and not any(entry["from"] for entry in entries):
        yield "The log names no hosts: eximcertctl check says what log_selector lacks."
    if known:
        yield "Decide with: eximcertctl approve|reject FINGERPRINT"


def _group(issuer: dict[str, Any]) -> str:
    """Return what there is to say about the certificates of one issuer."""
    what = f"{count(issuer['count'], 'certificate')} issued by {shown(issuer['name'], _LONGEST_NAME)}"
    if issuer["approved"]:
        return f"{what}, which is approved, but not for them: eximcertctl show tells why; --all lists them."
    given = issuer["certificate"][:16] if issuer["certificate"] else "FILE (its certificate is not known here)"
    return f"{what}, not approved. To approve all of them: eximcertctl authority add {clean(given)}; --all lists them."


def print_table(lines: Iterable[str]) -> None:
    """Print a table, the headings in bold."""
    heading, *rows = lines
    say(heading, bold=True)
    say("\n".join(rows))


def width() -> int:
    """Return how wide a table may be, in columns: COLUMNS, else the terminal's width, else 120."""
    given = os.environ.get("COLUMNS", "")
    try:  # shutil has this too, and imports five compressors
        found = int(given) if given.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        found = 0
    return max(_NARROWEST, found or _WITHOUT_TERMINAL)
