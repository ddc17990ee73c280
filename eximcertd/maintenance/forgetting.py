"""Forgetting: pending entries that are too old, and unmatched fingerprints beyond the limit."""

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
        """Forget pending entries without an attempt for the configured time, and return how many.

        Only the time that eximcertd runs counts: a wrong clock, and the dates of an old log, forget nothing.
        """
        return self._ledger.sightings.forget(self._ledger.running_time.read() - int(after.total_seconds() * 1000))

    def tell_dropped(self, limit: int) -> None:
        """Record how many fingerprints without a certificate were dropped since the last call. limit: the maximum."""
        dropped = self._ledger.sightings.dropped()
        if dropped > self._dropped:
            self._recorder.record(
                Event.UNMATCHED_DROPPED,
                "Fingerprints that match no certificate were dropped from the queue, which keeps"
                f" {limit} of them: {dropped - self._dropped}",
                COUNT=str(dropped - self._dropped),
            )
        self._dropped = dropped
