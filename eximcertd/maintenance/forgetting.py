"""Forgetting: what waits too long for a decision, and what is too much to be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eximcertd.events import Event

if TYPE_CHECKING:
    from datetime import timedelta

    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger


class Forgetting:
    """Bounds the queue."""

    def __init__(self, ledger: Ledger, recorder: Recorder) -> None:
        self._ledger = ledger
        self._recorder = recorder
        self._dropped = ledger.sightings.dropped()

    def forget(self, after: timedelta) -> int:
        """Forget pending entries without an attempt for so long, and return how many.

        Counted is the time that eximcertd runs: a wrong clock, and the dates of an old log, forget nothing.
        """
        before = self._ledger.running_time.read() - int(after.total_seconds() * 1000)
        return self._ledger.sightings.forget(before) if before > 0 else 0

    def tell_dropped(self, limit: int) -> None:
        """Tell how many fingerprints without a certificate were dropped since the last time. limit: that is kept."""
        dropped = self._ledger.sightings.dropped()
        if dropped > self._dropped:
            self._recorder.record(
                Event.UNMATCHED_DROPPED,
                f"{dropped - self._dropped} fingerprints that match no certificate were dropped from the queue:"
                f" it keeps {limit} of them",
                COUNT=str(dropped - self._dropped),
            )
        self._dropped = dropped
