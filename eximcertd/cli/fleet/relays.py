"""eximcertctl fleet: the table of the relays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli import table
from eximcertd.cli.fleet.connection import DeskConnection
from eximcertd.cli.fleet.entries import rfc3339
from eximcertd.cli.formatting import count, wrapped
from eximcertd.cli.output import print_json, say
from eximcertd.cli.pendingrun import print_table, width
from eximcertd.cli.times import RELATIVE, ago
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eximcertd.cli.context import Context

ODD: Final = 5_000
"""Milliseconds that a clock may differ; dates of certificates are not affected by less."""

WRONG: Final = 60_000
"""Milliseconds of difference that are an error: certificates begin and end at another time there."""

_COLUMNS: Final = (
    table.Column("RELAY", 10, grows=True),
    table.Column("VERSION", 7, grows=True),
    table.Column("RECEIVED", 8, right=True),
    table.Column("LIVE", 6, right=True),
    table.Column("LAG", 5, right=True),
    table.Column("SEEN", RELATIVE),
    table.Column("CLOCK", 6, right=True),
    table.Column("OWN", 4, right=True),
    table.Column("DROPS", 5, right=True),
)


def run(context: Context, *, as_json: bool) -> None:
    """Print the relays, and what is wrong. Raises RemoteError, UsageError."""
    with DeskConnection(context) as connection:
        head = connection.desk.head()
        relays = connection.desk.relays()
        now = datetime.fromtimestamp(connection.desk.now() / 1_000_000, UTC)
    found = [
        {
            "relay": clean(one.name),
            "version": clean(one.report.version) if one.report else None,
            "received": one.report.received if one.report else None,
            "live": one.report.live if one.report else None,
            "lag": max(0, head.generation - one.report.live) if one.report else None,
            "seen_at": rfc3339(one.seen_at),
            "skew_ms": one.skew,
            "clock": "wrong" if abs(one.skew) > WRONG else "odd" if abs(one.skew) > ODD else "right",
            "own": one.report.own if one.report else None,
            "dropped": one.dropped,
            "problem": (clean(one.report.problem) or None) if one.report else None,
        }
        for one in relays
    ]
    if as_json:
        print_json({"generation": head.generation, "hash": head.hash, "relays": found})
        return
    say(f"The fleet is at act {head.generation:,}; {count(len(found), 'relay')}.\n")
    if found:
        print_table(table.render(_COLUMNS, [_row(one, now) for one in found], width()))
    for line, alarm in _sentences(found):
        say(line, alarm=alarm)


def _row(one: dict[str, Any], now: datetime) -> Sequence[str]:
    if one["version"] is None:
        return [one["relay"], "-", "-", "-", "-", "never", "-", "-", str(one["dropped"])]
    numbers = [str(one[key]) for key in ("received", "live", "lag")]
    return [
        one["relay"],
        one["version"],
        *numbers,
        ago(one["seen_at"], now),
        _difference(one["skew_ms"]),
        str(one["own"]),
        str(one["dropped"]),
    ]


def _difference(milliseconds: int) -> str:
    """Return a clock's difference in six columns: "right", "+7s", "-3602s", "+12h", "far"."""
    seconds = milliseconds / 1000
    if abs(milliseconds) <= ODD:
        return "right"
    if abs(seconds) < 10_000:  # noqa: PLR2004 - five digits with the sign
        return f"{seconds:+.0f}s"
    return f"{seconds / 3600:+.0f}h" if abs(seconds) < 3_600_000 else "far"  # noqa: PLR2004 - the same


def _sentences(found: Sequence[dict[str, Any]]) -> Iterator[tuple[str, bool]]:
    """Yield what the table does not say, each with whether it is an error."""
    for one in found:
        name = one["relay"]
        if one["clock"] != "right":
            ahead = "ahead of" if one["skew_ms"] > 0 else "behind"
            said = f"{name}: its clock is {abs(one['skew_ms']) / 1000:,.0f} s {ahead} the fleet's"
            wrong = one["clock"] == "wrong"
            yield from _lines(
                "! ",
                f"{said}: set it, since certificates begin and end at a wrong time there" if wrong else said,
                alarm=wrong,
            )
        if one["problem"]:
            yield from _lines("! ", f"{name}: {one['problem']}", alarm=True)
    if never := [one["relay"] for one in found if one["version"] is None]:
        yield from _lines(
            "! ", f"no report yet from: {', '.join(never)}; see whether eximcertd-fleet runs there", alarm=False
        )
    if own := sum(one["own"] or 0 for one in found):
        yield f"Open own decisions of relays: {own:,}. To decide for all: eximcertctl fleet settle", False


def _lines(start: str, text: str, *, alarm: bool) -> Iterator[tuple[str, bool]]:
    for line in wrapped(start, text):
        yield line, alarm
