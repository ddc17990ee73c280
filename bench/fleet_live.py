"""A fleet on PostgreSQL: from a decision to an Exim that honours it on another relay.

The database is reached over TLS on loopback, with fsync off. The relay has a real Exim, eximcertd and eximcertd-fleet.
A relay looks at the fleet once a second at most, and twice after each notification: between two decisions there is more
time than that.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from lab.certificates import make
from lab.control import Control
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.fleet import next_act
from lab.fleet_process import FleetProcess
from lab.postgres import Cluster
from lab.wait import until

from bench.harness import Row, milliseconds, scaled
from eximcertd.fleet.postgres import PostgresDesk

if TYPE_CHECKING:
    from collections.abc import Iterator

RELAY: Final = "mx2.example.org"
LIMIT: Final = 60.0


def rows() -> Iterator[Row]:
    """Approve again and again, in both forms."""
    for form, number in ("list", scaled(100, 3)), ("directory", scaled(100, 5)):
        taken, live = _samples(form, number)
        yield Row(f"from the decision to the act in the ledger of another relay, {form} form", milliseconds(taken))
        with_reload = ", with its reload" if form == "list" else ""
        yield Row(f"from the decision to an Exim that honours it there, {form} form{with_reload}", milliseconds(live))


def _samples(form: str, number: int) -> tuple[list[float], list[float]]:
    """Return for each decision the seconds until the relay has the act, and until it is live there."""
    taken: list[float] = []
    live: list[float] = []
    with (
        TemporaryDirectory() as name,
        Cluster() as cluster,
        EximServer(trusted=[make(Path(name), "alice.example")]) as exim,
    ):
        cluster.add_relay(RELAY)
        cluster.add_approver("alice")
        fleet = {"relay": RELAY, "service": cluster.service(RELAY), "user": "root"}
        with (
            Eximcertd(exim, {"allowlist": {"form": form}, "fleet": fleet}) as daemon,
            FleetProcess(daemon),
            Control(daemon.socket, limit=LIMIT) as control,
            closing(PostgresDesk(cluster.settings("alice"))) as desk,
        ):
            until(lambda: (_report(control)["link"] or {}).get("state") == "in-step", "it is in step", limit=LIMIT)
            for index in range(number):
                time.sleep(2.5)
                begun = time.perf_counter()
                act = next_act(desk.head(), "approve", f"{index:064X}")
                desk.decide(act)
                for samples, key in (taken, "generation"), (live, "live"):
                    while _report(control)[key] < act.generation:
                        assert time.perf_counter() - begun < LIMIT, f"{key} is {act.generation}"
                        time.sleep(0.002)
                    samples.append(time.perf_counter() - begun)
    return taken, live


def _report(control: Control) -> dict[str, Any]:
    report: dict[str, Any] = control.call("FleetStatus")["report"]
    return report
