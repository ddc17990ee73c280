"""A fleet's relay: a million approvals to a new one, from the first act to an Exim that honours the last."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from lab.certificates import make
from lab.control import Control
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.fleet import next_act

from bench.harness import Row, scaled
from eximcertd.acts.act import Head

if TYPE_CHECKING:
    from collections.abc import Iterator

EACH: Final = 10_000
FLEET: Final = {"allowlist": {"form": "auto"}, "fleet": {"relay": "mx1", "service": "away"}}


def rows() -> Iterator[Row]:
    """Hand acts of 10,000 fingerprints over, in no order, while another caller asks again and again."""
    many = scaled(100, 2)
    names = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016X}{number:048X}" for number in range(many * EACH)]
    random.Random(1).shuffle(names)  # noqa: S311 - an order, the same each time
    held: list[float] = []
    done = threading.Event()
    with (
        TemporaryDirectory() as name,
        EximServer(trusted=[make(Path(name), "alice.example")]) as exim,
        Eximcertd(exim, FLEET) as daemon,
        Control(daemon.socket, limit=600) as control,
    ):
        watcher = threading.Thread(target=_watch, args=(daemon, held, done))
        watcher.start()
        begun, head = time.perf_counter(), Head()
        for start in range(0, len(names), EACH):
            act = next_act(head, "approve", *names[start : start + EACH])
            control.call("FleetTake", acts=[act.to_json()])
            head = Head(act.generation, act.hash())
        taken = time.perf_counter() - begun
        while control.call("FleetNews")["live"] != many:
            time.sleep(0.1)
        live = time.perf_counter() - begun
        done.set()
        watcher.join()
    yield Row(f"{len(names):,} approvals in {many} acts, taken", f"{taken:.0f} s")
    yield Row("the same, live", f"{live:.0f} s")
    worst = max(held)
    yield Row(
        "longest work of the loop between a call and its answer", f"{worst * 1000:.0f} ms", "200 ms", worst <= 0.2
    )


def _watch(daemon: Eximcertd, held: list[float], done: threading.Event) -> None:
    """Keep the processor time of the daemon's main thread between each call and its answer."""
    schedule = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/schedstat")
    with Control(daemon.socket, limit=600) as control:
        while not done.wait(0.005):
            before = int(schedule.read_text().split()[0])
            control.call("FleetStatus")
            held.append((int(schedule.read_text().split()[0]) - before) / 1e9)
