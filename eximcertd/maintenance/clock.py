"""The wall clock, compared with the time that passes: a jump is reported, and no decision follows from it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.ledger.clock import RunningTime

LEAP: Final = 300.0  # seconds; NTP slews what is less
LONG_DOWN: Final = 30 * 86400.0  # seconds between two runs after which the clock is not trusted
KEPT_EVERY: Final = 600.0  # seconds between two writes to the ledger
TRUSTED_AFTER: Final = 86400.0  # seconds without another jump after which the clock is trusted again


def _passed() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # advances while the machine is suspended, and is never set


class Clock:
    """The wall clock. wall, passed: seconds, as time.time and CLOCK_BOOTTIME tell them.

    trusted: False after a jump, until the clock is corrected or has run for a day without another one. Decisions that
    depend on the clock wait so long; values that are derived from it do not.
    """

    def __init__(
        self,
        running_time: RunningTime,
        wall: Callable[[], float] = time.time,
        passed: Callable[[], float] = _passed,
    ) -> None:
        self._running_time = running_time
        self._wall, self._passed = wall, passed
        self._last_wall: float | None = None
        self._last_passed = self._kept_at = passed()
        self._off = 0.0  # seconds that the clock is off, as far as was seen
        self._leapt_at = self._last_passed

    @property
    def trusted(self) -> bool:
        """Whether the clock has not leapt lately."""
        return abs(self._off) < LEAP

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._wall()

    def offset(self) -> float:
        """Return the wall clock minus the time that has passed, in seconds: it changes when the clock is set."""
        return self._wall() - self._passed()

    def running(self) -> int:
        """Return how long eximcertd has run over all its starts, in ms."""
        return self._running_time.read()

    def look(self) -> str:
        """Compare wall clock and passed time; return a sentence about a jump since the last look, or "".

        Raises LedgerError.
        """
        wall, passed = self._wall(), self._passed()
        leap, before = self._leap(wall, passed)
        first, self._last_wall, self._last_passed = self._last_wall is None, wall, passed
        if leap:
            self._off, self._leapt_at = self._off + leap, passed
        elif not self.trusted and passed - self._leapt_at >= TRUSTED_AFTER:
            self._off = 0.0
        if first or leap or passed - self._kept_at >= KEPT_EVERY:
            # the ledger keeps the clock that was trusted last: a restart does not make a wrong clock trusted
            kept = None if self.trusted else self._running_time.last_clock()
            self._running_time.advance(int((passed - self._kept_at) * 1000), int(wall * 1000) if kept is None else kept)
            self._kept_at = passed
        if not leap:
            return ""
        right = (
            "It is correct again." if self.trusted else "What is not valid by it is off the list until it is corrected."
        )
        return f"The clock jumped by {leap:+.0f} s, from {_date(before)} to {_date(wall)} (UTC). {right}"

    def _leap(self, wall: float, passed: float) -> tuple[float, float]:
        """Return by how many seconds the clock jumped, 0.0 for no jump, and its value before."""
        if self._last_wall is not None:
            leap = (wall - self._last_wall) - (passed - self._last_passed)
            return (leap, self._last_wall) if abs(leap) >= LEAP else (0.0, wall)
        kept = self._running_time.last_clock()
        if kept is None:
            return 0.0, wall
        leap = wall - kept / 1000
        return (leap, kept / 1000) if leap <= -LEAP or leap >= LONG_DOWN else (0.0, wall)


def _date(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{at:.0f} s"
