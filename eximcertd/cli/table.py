"""Entries as tables, a line each, as wide as the terminal. Pure.

A column has at least its smallest width; what is left of the line goes to the columns whose texts need more. What is
longer is cut. A name from a certificate is never shown without its fingerprint.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd.certificates.names import common_name
from eximcertd.cli.times import EXACT, RELATIVE, ago, date, local
from eximcertd.text import columns, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

SHORT: Final = 16
"""Digits of a fingerprint in a table: enough to approve it, whatever shows it."""

_GAP: Final = "  "
_MEANINGS: Final = {
    "!": "warnings: see eximcertctl show FINGERPRINT",
    "+": "renews an approved certificate",
    "?": "only the client has shown it, and its name is a claim: ask its owner for the fingerprint",
    "=": "another entry has the same name",
    "@": "decided here: this relay's own decision, which the fleet has not settled",
}
_LONGEST_COUNT: Final = 99_999
_LONGEST_IPV4: Final = 15
_ADDRESS = re.compile(r"\[([0-9A-Fa-f.:]+)\](?::\d+)?\Z")


class Column(NamedTuple):
    """A column of a table. least: its smallest width. grows: whether it may be wider. right: aligned to the right."""

    heading: str
    least: int
    grows: bool = False
    right: bool = False


def render(table: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the line of the headings, and a line for each row, ``width`` columns wide if the least widths fit."""
    widths = _widths(table, rows, width)
    for row in ([column.heading for column in table], *rows):
        cells = []
        for column, text, room in zip(table, row, widths, strict=True):
            cut = shown(text, room)
            blanks = " " * (room - columns(cut))
            cells.append(blanks + cut if column.right else cut + blanks)
        yield _GAP.join(cells).rstrip()


def waiting(entries: Sequence[dict[str, Any]], width: int, now: datetime | None) -> Iterator[str]:
    """Yield the table of pending entries. now: aware, for times such as "3 min ago"; None: times are exact."""
    rows = [
        (
            entry["fingerprint"][:SHORT],
            name(entry),
            ago(entry["last_seen"], now) if now else local(entry["last_seen"]),
            address(entry["from"]),
            attempts(entry["attempts"]),
            marks(entry),
        )
        for entry in together(entries)
    ]
    addresses = max((columns(row[3]) for row in rows), default=0)
    table = (
        Column("FINGERPRINT", SHORT),
        Column("NAME", 17 if now else 14, grows=True),
        Column("LAST", RELATIVE if now else EXACT),
        Column("FROM", min(_LONGEST_IPV4, max(len("FROM"), addresses)), grows=True),
        Column("COUNT", 5, right=True),
        Column("", max([3, *(len(row[-1]) for row in rows)])),
    )
    return render(table, rows, width)


def together(entries: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the entries in their order, but those that claim one name one after the other."""
    left = {entry["fingerprint"]: entry for entry in entries}
    for entry in entries:
        for fingerprint in (entry["fingerprint"], *(entry.get("same_name") or ())):
            if fingerprint in left:
                yield left.pop(fingerprint)


def decided(entries: Sequence[dict[str, Any]], width: int) -> Iterator[str]:
    """Yield the table of entries with a decision: who made it, when and why."""
    rows = [
        (entry["fingerprint"][:SHORT], name(entry), *_decision(entry["decision"]), marks(entry)) for entry in entries
    ]
    table = (
        Column("FINGERPRINT", SHORT),
        Column("NAME", 17, grows=True),
        Column("SINCE", len("2026-11-25")),
        Column("BY", 8, grows=True),
        Column("NOTE", 8, grows=True),
        Column("", max([2, *(len(row[-1]) for row in rows)])),
    )
    return render(table, rows, width)


def name(entry: dict[str, Any]) -> str:
    """Return the name of an entry's certificate: the common name, else the subject, else an alternative name."""
    certificate = entry["certificate"]
    if certificate is None:
        return "(no certificate)"
    return common_name(certificate["subject"]) or ", ".join(certificate["names"]) or "(no name)"


def address(peer: dict[str, Any] | None) -> str:
    """Return the client's address without its name, as far as the log tells it; "-" if it does not."""
    if peer is None:
        return "-"
    host: str = peer["host"]
    found = _ADDRESS.search(host)
    return found[1] if found else host or "-"


def marks(entry: dict[str, Any]) -> str:
    """Return the marks of an entry, as the legend explains them."""
    there = {
        "!": entry["warnings"],
        "+": entry["renews"],
        "?": (entry["certificate"] or {}).get("source") == "attempt",
        "=": entry.get("same_name"),
        "@": entry.get("here"),
    }
    return "".join(mark for mark, condition in there.items() if condition)


def legend(entries: Sequence[dict[str, Any]]) -> str:
    """Return what the marks of these entries mean, a line each, or ""."""
    used = "".join(map(marks, entries))
    return "\n".join(f"{mark} {meaning}" for mark, meaning in _MEANINGS.items() if mark in used)


def _widths(table: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    widths = [column.least for column in table]
    needed = {
        number: max((columns(row[number][:width]) for row in rows), default=0)
        for number, column in enumerate(table)
        if column.grows
    }
    left = width - sum(widths) - len(_GAP) * (len(table) - 1)
    while left > 0 and (short := [number for number, need in needed.items() if widths[number] < need]):
        for number in short[:left]:
            widths[number] += 1
            left -= 1
    return widths


def attempts(number: int) -> str:
    """Return a number of attempts in five columns."""
    return str(number) if number <= _LONGEST_COUNT else f"{number // 1000}k" if number < 10_000_000 else "many"  # noqa: PLR2004


def _decision(decision: dict[str, Any] | None) -> tuple[str, str, str]:
    if decision is None:
        return "-", "", ""
    return date(decision["at"]), decision["by"].removeprefix("by "), decision["note"]
