"""The main job: from a refusal to the pending list, from an approval to the first accepted RCPT.

Everything is real: an Exim with the recipe, eximcertd, its control socket, clients over STARTTLS.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab.certificates import make
from lab.control import Control
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.smtp import ask
from lab.wait import until

from bench.harness import Row, milliseconds, quantile, scaled
from eximcertd.log.line import DEFAULT_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

STRANGERS = 99


def rows() -> Iterator[Row]:
    """Measure both, on one Exim with 99 other certificates on its list."""
    with TemporaryDirectory() as directory:
        made = [make(Path(directory), f"client{number}.example") for number in range(scaled(200, 40))]
        strangers = [f"{number:064X}" for number in range(1 << 40, (1 << 40) + STRANGERS)]
        with EximServer(trusted=made, allowed=strangers) as exim, Eximcertd(exim) as daemon:
            yield _seen(exim, daemon, made)
            yield _let_in(exim, daemon, made[0])


def _seen(exim: EximServer, daemon: Eximcertd, made: list[Identity]) -> Row:
    """From the warn line's write to its row: 10 lines a second, asked for every half millisecond on the socket."""
    samples = []
    until(lambda: daemon.status()["allowlist"]["live"], "the start is over")
    with Control(daemon.socket) as control, exim.log.open("ab", buffering=0) as log:
        for identity in made:
            line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} [4711] {DEFAULT_MESSAGE} {identity.fingerprint}\n"
            begun = time.perf_counter()
            log.write(line.encode())
            while not control.call("List", standings=["pending"], prefixes=[identity.fingerprint])["entries"]:
                assert time.perf_counter() - begun < 10, "the line never came to the pending list"
                time.sleep(0.0005)
            samples.append(time.perf_counter() - begun)
            time.sleep(max(0.0, 0.1 - samples[-1]))
    met = statistics.median(samples) < 0.005 and quantile(samples, 0.99) < 0.030
    work = "from the warn line's write to its row in `pending`, 10 lines/s"
    return Row(work, milliseconds(samples), "median 5 ms, p99 30 ms", met)


def _let_in(exim: EximServer, daemon: Eximcertd, identity: Identity) -> Row:
    """From the request on the control socket to the first accepted RCPT, then revoke it, and again."""
    samples = []
    until(lambda: ask(exim.port, identity).refused, "the client is known and refused")
    with Control(daemon.socket) as control:
        for number in range(scaled(30, 5)):
            begun = time.perf_counter()
            answer = _decide(control, "approve", identity, number)
            assert answer["publication"]["live"], answer
            while not ask(exim.port, identity).accepted:
                assert time.perf_counter() - begun < 30, "the approval never counted"
            samples.append(time.perf_counter() - begun)
            assert _decide(control, "revoke", identity, number)["publication"]["live"]
    work = f"from `approve` to the first accepted RCPT, list form, {STRANGERS + 1} in the list"
    return Row(work, milliseconds(samples), "median 400 ms", statistics.median(samples) < 0.4)


def _decide(control: Control, verb: str, identity: Identity, number: int) -> dict[str, dict[str, bool]]:
    return control.call(
        "Decide",
        verb=verb,
        fingerprints=[identity.fingerprint],
        note="",
        insist=[],
        request=f"bench-{verb}-{number}",
    )
