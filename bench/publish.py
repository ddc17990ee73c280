"""Publishing: what a list publication costs, and the directory form up to a million.

A reload closes Exim's port for some milliseconds: the refusals that eight clients meet are counted. The rows of a
million are measured on one ledger and one directory, made by the import that is measured first.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import statistics
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lab.certificates import make
from lab.control import Control
from lab.daemon import Eximcertd, program
from lab.exim import EXIM, EximServer
from lab.publishing import Publisher
from lab.smtp import Session, ask, session
from lab.wait import until

from bench.harness import Row, milliseconds, scaled
from eximcertd.exim.listeners import listeners
from eximcertd.exim.processes import process
from eximcertd.fingerprint import Fingerprint
from eximcertd.publication import attempt
from eximcertd.publication.attempt import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

CLIENTS = 8
MILLION = 1_000_000
RECONCILED_A_DAY = 4
REFUSED_PAUSE = 0.05
DIRECTORY_FORM = {"allowlist": {"form": "directory"}}
LONG_SESSIONS = "smtp_accept_max_nonmail = 1000000\nsmtp_accept_max_per_connection = 1000000"


def rows() -> Iterator[Row]:
    """Measure one publication alone, then the whole daemon in both forms, then a million."""
    with TemporaryDirectory() as directory:
        made = [make(Path(directory), f"client{number}.example") for number in range(3)]
        yield from _steps(made[0])
        yield from _a_long_list(made[0])
        yield from _directory_form(made)
        yield from _refusals(made, "list")
        yield from _refusals(made, "directory")
        yield from _a_million(made)


def _strangers(count: int) -> list[str]:
    return [f"{number:064X}" for number in range(1 << 40, (1 << 40) + count)]


def _by_hand(exim: EximServer) -> tuple[float, float]:
    """Return the seconds of one ``exim -bV``, and of one SIGHUP until Exim listens anew."""
    begun = time.perf_counter()
    subprocess.run([EXIM, "-C", exim.configuration, "-bV"], capture_output=True, check=True)
    read = time.perf_counter() - begun
    before = listeners([exim.pid], {exim.port})
    begun = time.perf_counter()
    os.kill(exim.pid, signal.SIGHUP)
    while not (is_ready(exim.pid) and listeners([exim.pid], {exim.port}) - before):
        assert time.perf_counter() - begun < 60
        time.sleep(0.0005)
    loaded = time.perf_counter() - begun
    until(lambda: ask_nobody(exim), "Exim answers")
    return read, loaded


def is_ready(pid: int) -> bool:
    """Tell whether Exim handles SIGHUP, as it does once it has its sockets: to look for these takes longer."""
    seen = process(pid)
    return seen is not None and seen.catches(signal.SIGHUP)


def ask_nobody(exim: EximServer) -> bool:
    """Tell whether Exim takes connections."""
    try:
        with socket.create_connection(("127.0.0.1", exim.port), 5) as connection:
            return connection.recv(512).startswith(b"220")
    except OSError:
        return False


def _steps(identity: Identity) -> Iterator[Row]:
    """One publication of a list of 100, growing and shrinking by one, against two ``exim -bV`` and one reload."""
    whole, read, loaded = [], [], []
    others = _strangers(99)
    with EximServer(trusted=[identity], allowed=others) as exim:
        publisher = Publisher(exim)
        assert publisher.carry(*others).live
        for number in range(scaled(30, 6)):
            seconds = _by_hand(exim)
            read.append(seconds[0])
            loaded.append(seconds[1])
            whole.append(_published(publisher, [*others, *([identity.fingerprint] if number % 2 == 0 else [])]))
    hand = 2 * statistics.median(read) + statistics.median(loaded)
    ratio = statistics.median(whole) / hand
    yield Row("one publication, list of 100: validate, write, load", milliseconds(whole))
    yield Row("the same against two exim -bV and one reload by hand", f"ratio {ratio:.2f}", "ratio 2.5", ratio <= 2.5)


def _published(publisher: Publisher, listed: list[str]) -> float:
    """Return the seconds of one publication, with the file known as eximcertd knows it."""
    found = publisher.read().found
    assert found is not None
    wanted = Wanted("list", tuple(sorted(map(Fingerprint, listed))), publisher.allowed)
    begun = time.perf_counter()
    tried = asyncio.run(attempt.publish(publisher, wanted, found, publisher.confirmed))
    took = time.perf_counter() - begun
    assert tried.live, tried
    return took


def _a_long_list(identity: Identity) -> Iterator[Row]:
    """One publication of 100,000 in the list form against one ``exim -bV`` on it."""
    others = _strangers(scaled(100_000, 20_000) - 1)
    with EximServer(trusted=[identity]) as exim:
        publisher = Publisher(exim)
        assert publisher.carry(*others).live
        took = _published(publisher, [*others, identity.fingerprint])
        read = min(_by_hand(exim)[0] for _ in range(3))
    work = f"one publication, list of {len(others) + 1:,}, against exim -bV on it"
    yield Row(work, f"{took:.1f} s, ratio {took / read:.2f}", "ratio 2", took / read <= 2)


@contextmanager
def _eximcertd(made: list[Identity], form: str) -> Iterator[tuple[EximServer, Eximcertd]]:
    with EximServer(trusted=made, main=LONG_SESSIONS) as exim, Eximcertd(exim, {"allowlist": {"form": form}}) as daemon:
        until(lambda: daemon.status()["allowlist"]["live"], "the start is over")
        yield exim, daemon


def _directory_form(made: list[Identity]) -> Iterator[Row]:
    """From the request on the control socket to the first accepted RCPT, in an open session and in a new one."""
    held, fresh = [], []
    with _eximcertd(made, "directory") as (exim, daemon), Control(daemon.socket) as control:
        with session(exim.port, made[0]) as opened:
            assert opened.rcpt().refused
            for number in range(scaled(200, 20)):
                begun = time.perf_counter()
                _decide(control, "approve", made[0].fingerprint, number)
                while not opened.rcpt().accepted:
                    assert time.perf_counter() - begun < 10
                held.append(time.perf_counter() - begun)
                _decide(control, "revoke", made[0].fingerprint, number)
                assert opened.rcpt().refused
        for number in range(scaled(100, 10)):
            begun = time.perf_counter()
            _decide(control, "approve", made[1].fingerprint, number)
            while not ask(exim.port, made[1]).accepted:
                assert time.perf_counter() - begun < 10
            fresh.append(time.perf_counter() - begun)
            _decide(control, "revoke", made[1].fingerprint, number)
    met = statistics.median(held) < 0.015
    yield Row("request to first accepted RCPT, directory form, open session", milliseconds(held), "median 15 ms", met)
    yield Row("the same, connection and TLS handshake included", milliseconds(fresh))


def _refusals(made: list[Identity], form: str) -> Iterator[Row]:
    """Approvals and revocations while eight clients connect without a pause; who is refused tries again later."""
    decisions = scaled(100, 10)
    stop = threading.Event()
    tried, refused = [0] * CLIENTS, [0] * CLIENTS

    def client(number: int, port: int) -> None:
        while not stop.is_set():
            tried[number] += 1
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as connection:
                    assert connection.recv(512).startswith(b"220")
            except ConnectionError:
                refused[number] += 1
                time.sleep(REFUSED_PAUSE)

    with _eximcertd(made, form) as (exim, daemon), Control(daemon.socket) as control:
        _decide(control, "approve", made[0].fingerprint, -1)
        clients = [threading.Thread(target=client, args=(number, exim.port)) for number in range(CLIENTS)]
        for thread in clients:
            thread.start()
        for number in range(decisions):
            verb = "approve" if number % 2 == 0 else "revoke"
            _decide(control, verb, made[1].fingerprint, number)
        stop.set()
        for thread in clients:
            thread.join()
    work = f"connections refused per decision, {form} form, {CLIENTS} clients, {decisions} decisions"
    figure = f"{sum(refused) / decisions:.2f} ({sum(refused)} of {sum(tried)} connections)"
    if form == "directory":
        yield Row(work, figure, "0", sum(refused) == 0)
    else:
        yield Row(work, figure)


def _a_million(made: list[Identity]) -> Iterator[Row]:
    """Import, one more, one RCPT, reconciliation and start, at a million approved."""
    many = scaled(MILLION, 20_000)
    with EximServer(trusted=made, main=LONG_SESSIONS) as exim, Eximcertd(exim, DIRECTORY_FORM) as daemon:
        until(lambda: daemon.status()["allowlist"]["live"], "the start is over")
        assert daemon.ctl("approve", made[0].fingerprint, "--without-certificate").returncode == 0
        alone = _one_rcpt(exim, made[0])
        listed = "\n".join(_strangers(many - 1)) + "\n"
        begun = time.perf_counter()
        imported = daemon.ctl("import", given=listed, limit=1200)
        took = time.perf_counter() - begun
        assert imported.returncode == 0, imported
        yield Row(f"import of {many:,} fingerprints from stdin", f"{took:.1f} s", "120 s", took < 120)
        among = _one_rcpt(exim, made[0])
        again = _one_rcpt(exim, made[0])
        ratio = min(among, again) / alone
        yield Row(
            f"one RCPT at {many:,} approved against 1, directory form", f"ratio {ratio:.2f}", "ratio 1.2", ratio <= 1.2
        )
        one_more = []
        with Control(daemon.socket) as control:
            for number in range(scaled(100, 10)):
                begun = time.perf_counter()
                _decide(control, "approve", made[1].fingerprint, number)
                one_more.append(time.perf_counter() - begun)
                _decide(control, "revoke", made[1].fingerprint, number)
        yield Row(
            f"approve one more at {many:,} approved",
            milliseconds(one_more),
            "median 50 ms",
            statistics.median(one_more) < 0.05,
        )
        daemon.stop()
        begun = time.perf_counter()
        daemon.start(limit=120)
        until(lambda: daemon.status()["allowlist"]["live"], "the start is over", limit=120)
        took, memory = time.perf_counter() - begun, _resident(daemon.pid)
        figure = f"{took:.1f} s, {memory:.0f} MiB now, {_peak(daemon.pid):.0f} MiB peak"
        yield Row(
            f"start of eximcertd at {many:,} approved, reconciled", figure, "10 s, 300 MiB", took < 10 and memory < 300
        )
        daemon.stop()
        spent = _reconciling(daemon)
        share = RECONCILED_A_DAY * spent / 86400
        yield Row(
            f"the slow reconciliation at {many:,}, CPU",
            f"{spent:.2f} s, {100 * share:.4f} % of a day",
            "0.1 % of a day",
            share < 0.001,
        )


def _one_rcpt(exim: EximServer, identity: Identity) -> float:
    """Return the median seconds of one accepted RCPT (with RSET and MAIL) in an open session."""
    with session(exim.port, identity) as opened:
        return statistics.median(_timed(opened) for _ in range(scaled(500, 100)))


def _timed(opened: Session) -> float:
    begun = time.perf_counter()
    assert opened.rcpt().accepted
    return time.perf_counter() - begun


_RECONCILE = """
import asyncio, sys
from pathlib import Path
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.config import load
from eximcertd.ledger import Ledger
from eximcertd.decisions.decide import Decider
from eximcertd.publication.publisher import Publisher
from eximcertd.journal import StandardError

async def work(state, again):
    ledger, recorder = Ledger(state / "ledger"), StandardError(prioritised=False)
    publication = Publisher(
        ledger, AllowedDirectory(state / "allowed"), None, decider=Decider(ledger, recorder),
        allowlist=load(Path(sys.argv[1])).allowlist, recorder=recorder,
    )
    for _ in range(again):
        await publication.reconcile()

asyncio.run(work(Path(sys.argv[2]), int(sys.argv[3])))
"""


def _reconciling(daemon: Eximcertd) -> float:
    """Return the CPU seconds of one reconciliation: a process that does two, less one that does one."""

    def spent(again: int) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python = str(Path(program("eximcertd")).parent / "python")
        command = [python, "-c", _RECONCILE, str(daemon.config), str(daemon.state), str(again)]
        subprocess.run(command, check=True, timeout=600)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return max(0.0, spent(2) - spent(1))


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _decide(control: Control, verb: str, fingerprint: str, number: int) -> None:
    answer: dict[str, Any] = control.call(
        "Decide",
        verb=verb,
        fingerprints=[fingerprint],
        note="",
        insist=["without-certificate"],
        request=f"bench-{verb}-{number}-{time.monotonic_ns()}",
    )
    assert answer["publication"]["live"], answer
