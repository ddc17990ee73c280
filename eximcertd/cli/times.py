"""Times as people write and read them. Pure, but for the local time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from eximcertd.errors import UsageError

_UNITS: Final = {"min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_STEPS: Final = ((86400 * 2, 86400, "days"), (3600 * 2, 3600, "h"), (60, 60, "min"))
_LONG_AGO: Final = 60 * 86400
EXACT: Final = len("2026-11-25 17:03")
"""Columns of a time that is shown exactly."""
RELATIVE: Final = len("59 days ago")
"""Columns of a time that is shown as how long ago it was."""


def moment(time: str | None) -> datetime | None:
    """Return an RFC 3339 time as an aware datetime; None for None and for other text."""
    try:
        at = datetime.fromisoformat(time or "")
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def local(time: str | None) -> str:
    """Return an RFC 3339 time as local time, to the minute; "-" for None."""
    at = moment(time)
    return "-" if at is None else f"{_here(at):%Y-%m-%d %H:%M}"


def date(time: str | None) -> str:
    """Return the local date of an RFC 3339 time; "-" for None."""
    at = moment(time)
    return "-" if at is None else f"{_here(at):%Y-%m-%d}"


def _here(at: datetime) -> datetime:
    """Return the time in the local zone; in its own if the calendar has no such time.

    A certificate that has no end says 99991231235959Z (RFC 5280, section 4.1.2.5): east of Greenwich, the year 10000.
    """
    try:
        return at.astimezone()
    except OverflowError:
        return at


def ago(time: str | None, now: datetime) -> str:
    """Return how long before ``now`` (aware) an RFC 3339 time was: "3 min ago"; a date if that is long."""
    at = moment(time)
    if at is None:
        return "-"
    seconds = (now - at).total_seconds()
    if not -60 < seconds < _LONG_AGO:  # noqa: PLR2004 - a minute: the clocks of two machines differ
        return date(time)
    for least, unit, name in _STEPS:
        if seconds >= least:
            return f"{int(seconds // unit)} {name} ago"
    return "just now"


def earlier(text: str, now: datetime) -> datetime:
    """Return the aware time that a person names: "2d" or "2d ago", a date, or a time. Raises UsageError."""
    try:
        if found := re.fullmatch(r"(\d{1,6}) ?(min|h|d|w)(?: ago)?", text.strip(), re.ASCII):
            return now - timedelta(seconds=int(found[1]) * _UNITS[found[2]])
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not a date or time", hint="give 30min, 12h, 2d, 3w, 2027-01-31 or 2027-01-31T18:00"
        ) from None
