"""The methods of ``eximcertctl scan``: what was counted of log files, and what it found."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from eximcertd.control.methods.services import Services, time_of, whole
from eximcertd.errors import UsageError
from eximcertd.intake import milliseconds
from eximcertd.ledger.sightings import Attempts
from eximcertd.log.line import Peer
from eximcertd.log.segment import from_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from eximcertd.control.caller import Caller

_PORTION: Final = 500


class Scans:
    """Counts what a scan found, once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ledger = services.ledger

    async def segments(self, _: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Tell what was counted of log files."""
        following = [json.dumps(segment.to_json()) for segment in self._services.intake.source.segments()]
        kept = list(self._ledger.sightings.segments().values()) + following
        for start in range(0, len(kept), _PORTION):
            yield {"segments": kept[start : start + _PORTION]}

    async def record(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Count what a scan found in one segment."""
        try:
            segment = from_json(json.loads(given["segment"]))
        except ValueError as error:
            raise UsageError(f"no segment: {error}") from error
        seen = [_attempts(sighting) for sighting in given["sightings"]]
        index, now = self._services.index, int(time.time() * 1000)
        text = json.dumps(segment.to_json())
        added = self._ledger.sightings.record_segment(
            (segment.key, text), given.get("before"), seen, known=index.__contains__, now=now
        )
        return {"added": added}


def _attempts(sighting: dict[str, Any]) -> Attempts:
    peer = sighting.get("from")
    if sighting["attempts"] < 0:
        raise UsageError("a negative number of attempts")
    return Attempts(
        whole(sighting["fingerprint"]),
        sighting["attempts"],
        milliseconds(_log_time(sighting.get("first_seen"))),
        milliseconds(_log_time(sighting.get("last_seen"))),
        None if peer is None else Peer(peer["host"], peer["helo"], peer["sender"], peer["recipient"]),
    )


def _log_time(text: str | None) -> datetime | None:
    """Return the time that a log tells, or None where no clock could have told it: the attempt counts all the same."""
    try:
        return time_of(text)
    except UsageError:
        return None
