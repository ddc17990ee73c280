"""eximcertctl and the control socket: against a bare start of Python, in the same run.

The daemon is a twin: the real socket before a ledger that is a dictionary. So what is measured is the
program that a person waits for, and the socket.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.daemon import program
from lab.entries import certificate
from lab.twins import Twin

from bench.harness import Row, milliseconds, scaled
from eximcertd.control.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRIES = 1000
COMPLETION = f"completion of approve, {ENTRIES:,} waiting"
BOUNDS = {"eximcertctl status": 4, f"eximcertctl pending, {ENTRIES:,} waiting": 5, COMPLETION: 5}


def rows() -> Iterator[Row]:
    """Yield the rows."""
    with tempfile.TemporaryDirectory() as directory, Twin(Path(directory) / "control") as twin:
        for number in range(ENTRIES):
            twin.see(f"{number:064X}", certificate(f"CN=client {number}"))
        at = [program("eximcertctl"), "--socket", str(twin.path)]
        words = f"COMP_WORDS=eximcertctl --socket {twin.path} approve {99:062X}"
        asking = ["env", "_EXIMCERTCTL_COMPLETE=bash_complete", "COMP_CWORD=4", words]
        commands = {
            "python3 -c pass": [sys.executable, "-c", "pass"],
            "eximcertctl status": [*at, "status"],
            f"eximcertctl pending, {ENTRIES:,} waiting": [*at, "pending"],
            f"eximcertctl pending --json, {ENTRIES:,} waiting": [*at, "pending", "--json"],
            COMPLETION: [*asking, at[0]],
        }
        medians = {name: statistics.median(times) for name, times in _in_turn(commands).items()}
        bare = medians.pop("python3 -c pass")
        for name, median in medians.items():
            ratio, most = median / bare, BOUNDS.get(name)
            bound, met = (f"{most} x", ratio <= most) if most else ("", None)
            work, figure = f"`{name}`, against a bare start of Python", f"{ratio:.1f} x ({1000 * median:.0f} ms)"
            yield Row(work, figure, bound, met)
        yield Row("one call over the control socket", milliseconds(_calls(twin)))


def _in_turn(commands: dict[str, list[str]]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(scaled(20, 3)):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            taken[name].append(time.perf_counter() - began)
    return taken


def _calls(twin: Twin) -> list[float]:
    taken = []
    with Client(twin.path) as client:
        for _ in range(scaled(2000, 100)):
            began = time.perf_counter()
            client.call("Check")
            taken.append(time.perf_counter() - began)
    return taken
