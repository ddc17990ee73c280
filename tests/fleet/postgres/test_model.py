"""The model of the fleet (lab/merging.py) with the real database: its rules, and what it holds for open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lab.merging import Database, drawn, play

from eximcertd.fleet.remote import ActRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.fleet_database import FleetDatabase
    from lab.postgres import Cluster

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.fleet.remote import OwnDecision


class RealDatabase(Database):
    """PostgreSQL, with a desk and three relays' sides."""

    def __init__(self, fleet: FleetDatabase, cluster: Cluster) -> None:
        super().__init__()
        cluster.fresh()
        self._cluster = cluster
        self._desk = fleet.desk()
        self._relays = {name: fleet.relay(f"{name}.example.org") for name in ("mx1", "mx2", "mx3")}

    def tell(self, relay: str, own: list[OwnDecision]) -> None:
        self._relays[relay].tell(own)

    def open(self) -> list[OwnDecision]:
        return list(self._desk.own())

    def decide(self, name: Fingerprint, verb: str, settles: Iterable[str], at: int) -> str:  # noqa: ARG002 - the time is now
        act = self.following(name, verb, settles, time.time_ns() // 1000)
        try:
            self._desk.decide(act)
        except ActRefusedError as error:
            return error.message
        self.acts.append(act)
        assert list(self._relays["mx1"].acts(act.generation - 1, 10)) == [act]
        return ""

    def back(self, generation: int) -> None:
        """Restore an older copy."""
        super().back(generation)
        self._cluster.back_to(generation)


def test_every_promise_holds_with_the_real_database(fleet: FleetDatabase, cluster: Cluster) -> None:
    database = RealDatabase(fleet, cluster)
    rebases = 0
    for seed in range(15):
        cluster.fresh()
        database.acts.clear()
        rebases += play(drawn(seed), database=database)
    assert rebases
