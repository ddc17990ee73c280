"""The methods that tell the fleet, and people, of this relay."""

from __future__ import annotations

import base64
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from eximcertd.acts.act import MOST_FINGERPRINTS
from eximcertd.control.methods import views
from eximcertd.errors import UsageError
from eximcertd.text import clean

if TYPE_CHECKING:
    from datetime import timedelta

    from eximcertd.control.caller import Caller
    from eximcertd.control.methods.services import Services
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger.fleet import FleetActs
    from eximcertd.ledger.fleet_news import OwnRow, SightedRow

_MOST_HASHES: Final = 1000
_MOST_TOLD: Final = 2000
_MOST_OWN: Final = 500
_MOST_SIGHTED: Final = 500
_MOST_BESIDE_OWN: Final = 100  # in a reply that tells the open decisions too, with their notes
_LARGEST_CERTIFICATE: Final = 8 << 10  # 500 of them fit into a reply
_LONGEST: Final = 1000
_LONGEST_PEER: Final = 320  # a HELO can have 8,000 characters; the database keeps no more than this either
_PEERS: Final = ("host", "helo", "sender", "recipient")
_DIGITS: Final = 18  # of a cursor
_SILENCE: Final = 300.0
"""Seconds beyond two reports: the command of [fleet] pull takes up to a minute, many acts take some."""


class FleetReports:
    """Answers from the ledger. refused: why the last act that was offered was not taken, or ""."""

    def __init__(self, fleet: FleetActs, services: Services) -> None:
        self._fleet = fleet
        self._services = services
        self._run = secrets.token_hex(4)  # of this process: begins cursors and revisions
        self._link: dict[str, Any] | None = None
        self._heard = 0.0
        self.refused = ""

    async def hashes(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Return the hashes of acts that this relay has."""
        if len(given["generations"]) > _MOST_HASHES:
            raise UsageError(f"more than {_MOST_HASHES} generations at once")
        return {"hashes": self._fleet.hashes(one for one in given["generations"] if 0 < one < 1 << 62)}

    async def state(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Keep what eximcertd-fleet reports of its connection."""
        if given["state"] == "in-step" and not given["problem"]:
            self.refused = ""  # the act that was refused is there no more
        self._link = {
            "state": clean(given["state"])[:_LONGEST],
            "since": views.rfc3339(given.get("since")),
            "problem": clean(given["problem"])[:_LONGEST],
            "heard": views.rfc3339(time.time() * 1000),
        }
        self._heard = time.monotonic()
        return {}

    async def news(self, _caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Return the open decisions of this relay and the clients that wait, as far as they have changed."""
        news, head = self._fleet.news, self._fleet.head()
        revision = f"{self._run}.{news.revision()}"
        same = given.get("own") == revision
        run, _, number = (given.get("cursor") or "").partition(":")
        after = int(number) if run == self._run and number.isdecimal() and len(number) < _DIGITS else 0
        rows = news.sighted(after, _MOST_SIGHTED if same else _MOST_BESIDE_OWN)
        return {
            "generation": head.generation,
            "hash": head.hash,
            "live": self.live(),
            "open": news.own_count(),
            "own": None if same else [_own(row) for row in news.own(_MOST_TOLD)],
            "own_revision": revision,
            "sighted": [await self._sighted(row) for row in rows],
            "cursor": f"{self._run}:{rows[-1].number if rows else after}",
            "dropped": self._services.ledger.sightings.dropped(),
            "problem": self._problem(),
        }

    async def status(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Return how far this relay follows the fleet, and its open decisions."""
        asked = given.get("fingerprints")
        if asked and len(asked) > MOST_FINGERPRINTS:
            raise UsageError(f"more than {MOST_FINGERPRINTS} fingerprints at once")
        rows = self._fleet.news.own(_MOST_OWN) if asked is None else self._fleet.news.own_among(asked)
        return {"report": self.report(), "own": [_own(row) for row in rows]}

    def report(self) -> dict[str, Any]:
        """Return a FleetReport of the interface."""
        head, waits = self._fleet.head(), self._fleet.fact("held")
        return {
            "relay": self._fleet.relay,
            "generation": head.generation,
            "hash": head.hash,
            "live": self.live(),
            "open": self._fleet.news.own_count(),
            "held": int(waits.split()[0]) if waits else None,
            "problem": self._problem(),
            "link": link_after(self._link, time.monotonic() - self._heard, self._services.config().fleet.report),
        }

    async def _sighted(self, row: SightedRow) -> dict[str, Any]:
        der = await self._services.certificates.der(row.fingerprint)
        small = der is not None and len(der) <= _LARGEST_CERTIFICATE
        shown = row._asdict() | {"der": base64.b64encode(der).decode() if der and small else None}
        del shown["number"]
        told = self._services.config().fleet.peers
        return shown | {name: shown[name] and shown[name][:_LONGEST_PEER] if told else None for name in _PEERS}

    def live(self) -> int:
        """Return the last act that Exim was seen to honour; keep it."""
        live, applied = int(self._fleet.fact("live") or 0), self._fleet.applied()
        if applied != live and self._services.publication.live:
            self._fleet.set_fact("live", str(applied))
            return applied
        return live

    def _problem(self) -> str:
        """Return what keeps this relay from following the fleet, or ""."""
        state, waits = self._services.publication.state, self._fleet.fact("held")
        approved: set[Fingerprint] = {row.fingerprint for row in self._services.ledger.authorities.approved()}
        problems = [
            self.refused,
            f"act {waits.split()[0]} is held: it would take more off the list than max_shrink allows" if waits else "",
            "" if state.ok else f"not published: {state.message or state.outcome}",
            *(f"authority {name}: {why}" for name, why in self._fleet.refused().items() if name not in approved),
        ]
        return clean("; ".join(one for one in problems if one))[:_LONGEST]


def link_after(link: dict[str, Any] | None, silence: float, every: timedelta) -> dict[str, Any] | None:
    """Return what eximcertd-fleet has reported, or that it is away since then: it may hang, or have been stopped.

    silence: seconds since its report. every: how often it reports.
    """
    if link is None or silence <= 2 * every.total_seconds() + _SILENCE:
        return link
    return link | {"state": "away", "since": link["heard"], "problem": "eximcertd-fleet has not reported since then"}


def _own(row: OwnRow) -> dict[str, Any]:
    return row._asdict() | {"note": row.note[:_LONGEST]}
