"""A fleet on PostgreSQL: TLS with client certificates, on loopback, fsync off.

eximcertd and Exim are left out: what is measured is the transport, eximcertd/fleet/postgres.py and the database. One
Python process plays all relays, and its time is part of the figures.
"""

from __future__ import annotations

import hashlib
import os
import resource
import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.fleet import next_act
from lab.postgres import Cluster
from lab.wait import until

from bench.harness import Row, milliseconds, scaled
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet import statements
from eximcertd.fleet.postgres import PostgresDesk, PostgresRelaySide
from eximcertd.fleet.remote import Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RELAYS: Final = 1000
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def rows() -> Iterator[Row]:
    """Measure three relays, then a thousand."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    number = scaled(RELAYS, 30)
    with Cluster(connections=number + 50) as cluster, ExitStack() as stack:
        names = [f"mx{index}.example.org" for index in range(number)]
        cluster.psql("".join(map(statements.add_relay, names)))
        cluster.add_approver("alice")
        desk = PostgresDesk(cluster.settings("alice"))
        stack.callback(desk.close)
        yield from _news(cluster, desk, names[:3])
        cluster.fresh()
        before = _memory(cluster)
        with ThreadPoolExecutor(20) as pool:
            settings = [cluster.settings(name) for name in names]
            begun = time.perf_counter()
            relays = list(pool.map(PostgresRelaySide, settings))
        took = time.perf_counter() - begun
        for relay in relays:
            stack.callback(relay.close)
        yield Row(f"{number:,} relays connect, 20 at a time", f"{took:.1f} s")
        memory = (_memory(cluster) - before) / number
        yield Row(f"memory of the server for each of {number:,} relays that listen (PSS)", f"{memory / 1024:.2f} MiB")
        yield from _at_rest(cluster, relays)
        yield from _to_all(cluster, desk, relays)


def fingerprint(text: str) -> Fingerprint:
    """Return a fingerprint that this text alone has."""
    return Fingerprint(hashlib.sha256(text.encode()).hexdigest().upper())


def decide(desk: PostgresDesk, text: str) -> int:
    """Have a client approved, and return the act's number."""
    act = next_act(desk.head(), "approve", fingerprint(text))
    desk.decide(act)
    return act.generation


def _news(cluster: Cluster, desk: PostgresDesk, names: Sequence[str]) -> Iterator[Row]:
    """Yield what a decision takes, and when the other relays have the act."""
    seen: dict[int, list[float]] = {}
    stop = threading.Event()

    def follow(name: str) -> None:
        relay = PostgresRelaySide(cluster.settings(name))
        after = 0
        while not stop.is_set():
            for act in relay.acts(after, 100):
                after = act.generation
                seen.setdefault(after, []).append(time.perf_counter())
            relay.wait(0.5)
        relay.close()

    asked, decided = {}, []
    with ThreadPoolExecutor() as pool:
        following = [pool.submit(follow, name) for name in names]
        for number in range(scaled(300, 20)):
            begun = time.perf_counter()
            generation = decide(desk, f"news {number}")
            decided.append(time.perf_counter() - begun)
            asked[generation] = begun
            until(lambda: len(seen.get(generation, ())) == len(names), "all have it")  # noqa: B023 - called at once
        stop.set()
        for one in following:
            one.result()
    samples = [at - asked[generation] for generation, times in seen.items() for at in times]
    yield Row("decide: head, act, NOTIFY", milliseconds(decided))
    yield Row(f"from the decision to the act at another relay, {len(names)} relays", milliseconds(samples))


def _at_rest(cluster: Cluster, relays: Sequence[PostgresRelaySide]) -> Iterator[Row]:
    """Yield what the server needs for relays that report each 15 s and look each 30 s."""
    for _ in range(2):  # the first call of a function in a connection is prepared
        busy = processor(cluster)
        for relay in relays:
            relay.report(Report("0.1.0", 0, 0, 0, 0))
            relay.head()
    reports = processor(cluster) - busy
    busy = processor(cluster)
    for relay in relays:
        relay.head()
    looks = processor(cluster) - busy
    share = (reports - looks) / 15 + looks / 30
    work = f"processor of the server at rest, {len(relays):,} relays: a report each 15 s, a look each 30 s"
    yield Row(work, f"{100 * share:.1f} % of a core")


def _to_all(cluster: Cluster, desk: PostgresDesk, relays: Sequence[PostgresRelaySide]) -> Iterator[Row]:
    """Yield when the last relay has an act, each asking for it when it is told."""
    took, used = [], []
    poller = select.poll()
    of = {relay._database.raw.fileno(): relay for relay in relays}  # noqa: SLF001 - one process plays all
    for descriptor in of:
        poller.register(descriptor, select.POLLIN)
    for number in range(scaled(5, 2)):
        busy, begun = processor(cluster), time.perf_counter()
        generation = decide(desk, f"all {number}")
        waiting = set(of)
        while waiting:
            for descriptor, _ in poller.poll(5000):
                if descriptor in waiting:
                    assert of[descriptor].acts(generation - 1, 10), "it was told of an act"
                    of[descriptor].wait(0)
                    waiting.discard(descriptor)
        took.append(time.perf_counter() - begun)
        used.append(processor(cluster) - busy)
    figure = f"{1000 * max(took):.0f} ms at most, {1000 * sum(used) / len(used):.0f} ms of the server's processor"
    yield Row(f"from an approval to the act at the last of {len(relays):,} relays", figure)


def _memory(cluster: Cluster) -> float:
    """Return the proportional set size of the whole server, in KiB."""
    total = 0
    for process in cluster.processes():
        with suppress(OSError):  # a backend that has ended
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(text.partition("\nPss:")[2].split()[0])
    return total


def processor(cluster: Cluster) -> float:
    """Return the processor time of the whole server, in seconds."""
    used = 0.0
    for process in cluster.processes():
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / _TICKS
    return used
