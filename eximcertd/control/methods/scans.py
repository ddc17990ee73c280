"""The methods of ``eximcertctl scan``: how far log files were counted, and new sightings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from eximcertd.control.methods.services import Services, time_of, whole
from eximcertd.errors import UsageError
from eximcertd.intake import milliseconds
from eximcertd.log.certificate_line import shown_certificate
from eximcertd.log.cursor import from_json
from eximcertd.log.sighting import Peer, ShownCertificate, Sighting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from eximcertd.control.caller import Caller
    from eximcertd.fingerprint import Fingerprint

_PORTION: Final = 500


class Scans:
    """Counts the sightings of a scan, once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ledger = services.ledger

    async def segments(self, _: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return how far log files were counted."""
        kept = list(self._ledger.sightings.files().values())
        for start in range(0, len(kept), _PORTION):
            yield {"segments": kept[start : start + _PORTION]}

    async def record(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Count the sightings of a scan in one file."""
        try:
            cursor = from_json(given["segment"])
        except ValueError as error:
            raise UsageError(f"no segment: {error}") from error
        if not cursor.scanned or cursor.live:
            raise UsageError("no segment: a scan tells what it has scanned")
        added = self._ledger.sightings.record_scan(
            (cursor.key, cursor.to_json()),
            given.get("before"),
            [_sighting(sighting) for sighting in given["sightings"]],
            known=self._services.certificates.index.__contains__,
            now=int(time.time() * 1000),
        )
        return {"added": added}


def _sighting(given: dict[str, Any]) -> Sighting:
    if given["attempts"] < 0:
        raise UsageError("a negative number of attempts")
    peer = given.get("from")
    return Sighting(
        whole(given["fingerprint"]),
        given["attempts"],
        milliseconds(_log_time(given.get("first_seen"))),
        milliseconds(_log_time(given.get("last_seen"))),
        None if peer is None else Peer(peer["host"], peer["helo"], peer["sender"], peer["recipient"]),
        _shown(whole(given["fingerprint"]), given.get("shown")),
    )


def _shown(fingerprint: Fingerprint, given: dict[str, Any] | None) -> ShownCertificate | None:
    if given is None:
        return None
    found = shown_certificate(fingerprint, given["der"], given["issuer_hash"])
    if found is None:
        raise UsageError(f"{fingerprint}: the certificate is another one, or none")
    return found


def _log_time(text: str | None) -> datetime | None:
    """Return the time in a log line, or None if it is no possible time: the attempt counts all the same."""
    try:
        return time_of(text)
    except UsageError:
        return None
