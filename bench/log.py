"""The log: reading old ones, following a live one, and what a flood does.

Each cost is the CPU time of whole processes, as the kernel accounts it.
"""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab.certificates import make
from lab.control import Control
from lab.daemon import Eximcertd, program
from lab.exim import EximServer
from lab.shown import series
from lab.wait import until

from bench import traffic
from bench.harness import Row, quantile, quick, scaled
from eximcertd.log.line import DEFAULT_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

MIB = 1 << 20


def rows() -> Iterator[Row]:
    """Measure scan, then the daemon: busy, idle, over many lines, and flooded."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        yield from _scan(directory)
        made = [make(directory / "certificates", f"client{number}.example") for number in range(100)]
        yield _busy(made)
        yield _used(made)
        yield _idle(made)
        yield from _memory(made)
        yield from _flood(directory, made[0], shown=False)
        yield from _flood(directory, made[0], shown=True)


def _scan(directory: Path) -> Iterator[Row]:
    log = directory / "old"
    lines = scaled(10_000_000, 500_000)
    hits = traffic.write(log, lines)
    grep = ["/usr/bin/grep", "-cF", DEFAULT_MESSAGE, str(log)]
    ratios, peaks, seconds = [], [], []
    for _ in range(3):
        reading, _ = _cost(grep, {"LC_ALL": "C"})
        with _quiet() as daemon:  # each scan counts everything anew
            scanning, peak = _cost([program("eximcertctl"), "--config", str(daemon.config), "scan", str(log)])
            assert sum(entry["attempts"] for entry in daemon.entries("pending").values()) == hits
            scanning += daemon_cpu(daemon) - daemon.born  # the ledger's writes
        ratios.append(scanning / reading)
        seconds.append(scanning)
        peaks.append(peak)
    work = f"`scan` of {lines:,} lines ({log.stat().st_size / 1e9:.2f} GB, {hits:,} hits), CPU with the ledger's writes"
    median = sorted(ratios)[1]
    figure = f"{median:.2f} x grep -F ({min(ratios):.2f} to {max(ratios):.2f}; {sorted(seconds)[1]:.2f} s)"
    yield Row(work, figure, "1.3 x", None if quick() else median <= 1.3)
    yield Row("its peak memory", f"{max(peaks) / 1024:.1f} MiB", "40 MiB", max(peaks) < 40 * 1024)
    log.unlink()


class _Quiet(Eximcertd):
    """A daemon with nothing else to do; born: its CPU seconds when it had started."""

    born = 0.0


@contextmanager
def _quiet() -> Iterator[_Quiet]:
    with EximServer() as exim, _Quiet(exim) as daemon:
        until(lambda: daemon.status()["allowlist"]["live"], "the start is over")
        daemon.born = daemon_cpu(daemon)
        yield daemon


def daemon_cpu(daemon: Eximcertd) -> float:
    """Return the CPU seconds of all threads so far, as the scheduler accounts them."""
    tasks = Path(f"/proc/{daemon.pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def _cost(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, int]:
    """Run a command; return its CPU seconds and its peak resident memory in KiB."""
    # a pipe: before /dev/null grep would end at the first line found
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})})
    assert process.stdout is not None
    process.stdout.read()
    process.stdout.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return used.ru_utime + used.ru_stime, used.ru_maxrss


def _busy(made: list[Identity]) -> Row:
    """2,000 lines a second, one write each, one in 2,000 a warn line of another client."""
    seconds, late = scaled(30, 5), []
    chance = random.Random(2)  # noqa: S311 - the same lines every time
    with EximServer(trusted=made) as exim, Eximcertd(exim) as daemon, Control(daemon.socket) as control:
        until(lambda: daemon.status()["allowlist"]["live"], "the start is over")
        time.sleep(2)
        before = daemon_cpu(daemon)
        asked = 0.0
        begun = time.perf_counter()
        with exim.log.open("ab", buffering=0) as log:
            for second in range(seconds):
                lines = list(traffic.chunks(chance, 1999))
                for number in range(2000):
                    pause = begun + second + number / 2000 - time.perf_counter()
                    if pause > 0:
                        time.sleep(pause)
                    if number < 1999:
                        log.write(lines[number])
                        continue
                    whose = made[second % len(made)].fingerprint
                    log.write(traffic.warn(time.time(), whose).encode())
                    written, asking = time.perf_counter(), daemon_cpu(daemon)
                    while not _attempts(control, whose):
                        time.sleep(0.002)
                    late.append(time.perf_counter() - written)
                    asked += daemon_cpu(daemon) - asking  # what asking for it costs is the bench's own
        elapsed = time.perf_counter() - begun
        share = 100 * (daemon_cpu(daemon) - before - asked) / elapsed
    work = "2,000 lines/s appended, one in 2,000 a hit: CPU of the whole daemon, lateness of the hits"
    figure = f"{share:.2f} % of a core, latest {1000 * max(late):.0f} ms, p50 {1000 * quantile(late, 0.5):.0f} ms"
    return Row(work, figure, "1 %, 250 ms", None if quick() else share <= 1 and max(late) <= 0.25)


def _used(made: list[Identity]) -> Row:
    """2,000 lines a second, one write each, and each is a use of one of 100 approved certificates."""
    seconds = scaled(30, 5)
    with EximServer(trusted=made) as exim, Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", *(one.fingerprint for one in made)).returncode == 0
        time.sleep(2)
        before, begun = daemon_cpu(daemon), time.perf_counter()
        with exim.log.open("ab", buffering=0) as log:
            for number in range(2000 * seconds):
                pause = begun + number / 2000 - time.perf_counter()
                if pause > 0:
                    time.sleep(pause)
                log.write(traffic.use(time.time(), made[number % len(made)].fingerprint).encode())
        elapsed = time.perf_counter() - begun
        share = 100 * (daemon_cpu(daemon) - before) / elapsed
        until(lambda: sum(one["uses"] for one in daemon.entries().values()) == 2000 * seconds, "each was counted")
    work = "2,000 lines/s appended, each a use of one of 100 certificates: CPU of the whole daemon"
    return Row(work, f"{share:.2f} % of a core", "5 %", None if quick() else share <= 5)


def _attempts(control: Control, whose: str) -> int:
    entries = control.call("List", standings=["pending"], prefixes=[whose])["entries"]
    return int(entries[0]["attempts"]) if entries else 0


def _idle(made: list[Identity]) -> Row:
    """100 certificates, 10 approved, nothing happens."""
    seconds = scaled(60, 10)
    with EximServer(trusted=made) as exim, Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", *(one.fingerprint for one in made[:10])).returncode == 0
        time.sleep(12)  # caches are written, the watch has come to rest
        wakes, cpu = _wakes(daemon), daemon_cpu(daemon)
        time.sleep(seconds)
        woken, used = _wakes(daemon) - wakes, daemon_cpu(daemon) - cpu
    work = f"idle for {seconds} s, 100 certificates, 10 approved: wake-ups of all threads, CPU"
    good = None if quick() else woken <= 20 and used < 0.01
    return Row(work, f"{woken}, {used:.4f} s", "20, 0.01 s", good)


def _wakes(daemon: Eximcertd) -> int:
    total = 0
    for task in Path(f"/proc/{daemon.pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def _resident(daemon: Eximcertd) -> int:
    """Return the resident memory in KiB."""
    pages = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def _memory(made: list[Identity]) -> Iterator[Row]:
    """10 million lines in 100 rounds through the live log."""
    rounds, lines = scaled(100, 10), 100_000
    sizes = []
    with (
        EximServer(trusted=made) as exim,
        Eximcertd(exim) as daemon,
        Control(daemon.socket) as control,  # one for all: what connections cost is no matter of lines
        TemporaryDirectory() as name,
    ):
        until(lambda: daemon.status()["allowlist"]["live"], "the start is over")
        portion = Path(name, "portion")
        traffic.write(portion, lines)
        text = portion.read_bytes()
        for _ in range(rounds):
            with exim.log.open("ab", buffering=0) as log:
                log.write(text)
            _read_up_to(control, exim.log.stat().st_size)
            sizes.append(_resident(daemon))
    half = len(sizes) // 2  # the first half fills caches
    settled = sizes[half:]
    middle = (len(settled) - 1) / 2
    slope = sum((at - middle) * size for at, size in enumerate(settled)) / sum(
        (at - middle) ** 2 for at in range(len(settled))
    )
    work = f"resident memory after {rounds * lines:,} lines"
    yield Row(work, f"{sizes[-1] / 1024:.1f} MiB", "45 MiB", sizes[-1] < 45 * 1024)
    yield Row("its slope over the second half of the rounds", f"{slope:.2f} KiB a round", "1 KiB", slope <= 1)


def _read_up_to(control: Control, size: int) -> None:
    until(lambda: control.call("Status")["status"]["log"]["position"] == size, "it is read", limit=60, pause=0.05)


def _flood(directory: Path, known: Identity, *, shown: bool) -> Iterator[Row]:
    """As many clients as attempts, none with a file, and a client with one in the midst of it.

    shown: the log has their certificates too.
    """
    clients = scaled(1_000_000, 50_000) if shown else scaled(10_000_000, 200_000)
    names = [f"name{number}.example" for number in range(20)]  # as large as usual ones with an RSA key are
    certificate = series(directory / "series", key="rsa", names=names) if shown else None
    pieces = traffic.flood(clients, certificate, 4 * MIB)
    with EximServer(trusted=[known]) as exim, Eximcertd(exim) as daemon, Control(daemon.socket) as control:
        until(lambda: daemon.status()["allowlist"]["live"], "the start is over")
        late: list[float] = []
        biggest = 0
        begun = time.perf_counter()
        with exim.log.open("ab", buffering=0) as target:
            for text in pieces:
                target.write(text)
                until(lambda: daemon.status()["log"]["behind_bytes"] < 4 * MIB, "the reader keeps up", limit=120)
                target.write(traffic.warn(time.time(), known.fingerprint).encode())
                written = time.perf_counter()
                while _attempts(control, known.fingerprint) <= len(late):
                    time.sleep(0.002)
                late.append(time.perf_counter() - written)
                biggest = max(biggest, _resident(daemon))
        _read_up_to(control, exim.log.stat().st_size)
        elapsed = time.perf_counter() - begun
        counts = daemon.status()["counts"]
        ledger = sum(file.stat().st_size for file in (daemon.state / "ledger").glob("ledger.sqlite*"))
        with sqlite3.connect(daemon.state / "ledger/ledger.sqlite") as database:
            kept = database.execute("SELECT coalesce(sum(length(der)), 0) FROM shown").fetchone()[0]
        database.close()
    waiting = counts["unmatched"] + counts["pending"] - 1
    what = "certificates, each shown by its client" if shown else "fingerprints"
    work = f"flood of {clients:,} attempts with as many {what}: memory, ledger, kept and dropped"
    figure = (
        f"{biggest / 1024:.0f} MiB, {ledger / MIB:.0f} MiB, {waiting:,} and {counts['unmatched_dropped']:,}"
        f" ({clients / elapsed:,.0f} a second)"
    )
    bounded = waiting <= 10_000 and waiting + counts["unmatched_dropped"] == clients
    bound = "10,000 kept, the rest told"
    if shown:
        figure += f"; {kept / MIB:.1f} MiB of certificates"
        bounded, bound = bounded and kept <= 10 * MIB, f"{bound}; 10 MiB"
    yield Row(work, figure, bound, bounded)
    work = f"a client whose file lies in the directory in the midst of it, {len(late)} times: until it is pending"
    yield Row(work, f"latest {1000 * max(late):.0f} ms", "1 s", max(late) <= 1)
