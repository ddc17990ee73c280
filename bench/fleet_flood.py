"""A fleet on PostgreSQL while clients that are unknown flood each of its relays.

TLS with client certificates on loopback, fsync off. One Python process plays all relays, and its time is part of the
figures.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from lab.postgres import Cluster

from bench.fleet_postgres import decide, fingerprint, processor
from bench.harness import Row, milliseconds, scaled
from eximcertd.fleet import statements
from eximcertd.fleet.postgres import PostgresDesk, PostgresRelaySide
from eximcertd.fleet.remote import Sighted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RELAYS: Final = 100
EVERY: Final = 5.0
CLIENTS: Final = 1000
"""Seconds between a relay's reports, and the clients that are new in each; PORTION of them in one call."""
PORTION: Final = 500


def rows() -> Iterator[Row]:
    """Measure what people do and what the queue takes meanwhile."""
    with Cluster(connections=RELAYS + 50) as cluster, ExitStack() as stack:
        names = [f"mx{index}.example.org" for index in range(RELAYS)]
        cluster.psql("".join(map(statements.add_relay, names)))
        cluster.add_approver("alice")
        desk = PostgresDesk(cluster.settings("alice"))
        stack.callback(desk.close)
        relays = {name: PostgresRelaySide(cluster.settings(name)) for name in names}
        for relay in relays.values():
            stack.callback(relay.close)
        yield from _flood(cluster, desk, relays)


def _flood(cluster: Cluster, desk: PostgresDesk, relays: Mapping[str, PostgresRelaySide]) -> Iterator[Row]:
    """Yield what a decision takes while each relay reports, and how large the queue is at the end."""
    stop = threading.Event()
    reported: list[float] = []

    def flood(index: int, name: str, relay: PostgresRelaySide) -> int:
        sent = 0
        stop.wait(EVERY * index / len(relays))
        while not stop.is_set():
            for _ in range(CLIENTS // PORTION):
                unknown = [
                    Sighted(name, fingerprint(f"{name} {number}"), 1, 1, number)
                    for number in range(sent, sent + PORTION)
                ]
                begun = time.perf_counter()
                relay.sight(unknown)
                reported.append(time.perf_counter() - begun)
                sent += PORTION
            stop.wait(EVERY)
        return sent

    decided = []
    busy, begun = processor(cluster), time.perf_counter()
    with ThreadPoolExecutor(len(relays)) as pool:
        flooding = [pool.submit(flood, index, *each) for index, each in enumerate(relays.items())]
        while time.perf_counter() - begun < scaled(180, 3):
            asked = time.perf_counter()
            decide(desk, f"flood {asked}")
            decided.append(time.perf_counter() - asked)
            time.sleep(0.05)
        stop.set()
        sent = sum(one.result() for one in flooding)
    took, used = time.perf_counter() - begun, processor(cluster) - busy
    flooded = f"while {len(relays)} relays report {CLIENTS:,} unknown clients each {EVERY:g} s"
    yield Row(f"clients taken {flooded}, for {took:.0f} s", f"{sent / took:,.0f}/s")
    yield Row("processor of the server meanwhile", f"{100 * used / took:.0f} % of a core")
    yield Row(f"a report of {PORTION} of them", milliseconds(reported))
    yield Row("decide meanwhile: head, act, NOTIFY", milliseconds(decided))
    dropped = sum(state.dropped for state in desk.relays())
    with cluster.superuser() as connection:
        query = "SELECT pg_total_relation_size('fleet.sighting'), count(*) FROM fleet.sighting"
        ((octets, queued),) = connection.execute(query).fetchall()
    yield Row("the queue after it", f"{queued:,} clients, {octets / 1e6:.0f} MB; {dropped:,} of {sent:,} dropped")
    begun = time.perf_counter()
    desk.pending(50)
    yield Row("the first 50 of `fleet pending` of it", f"{time.perf_counter() - begun:.2f} s")
