"""The certificate index over a directory of 100,000 files, page cache warm.

Each figure is one process of its own; times are also given against plain ``os.scandir`` + stat of the same
directory, measured in the same process right before.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lab.control import Control
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.shown import series

from bench.harness import Row, milliseconds, quantile, scaled
from eximcertd.fingerprint import of_der
from eximcertd.log.line import DEFAULT_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20

# What the daemon has loaded, and the index as the daemon runs it. Prints JSON.
_PROGRAM = """
import json, os, sys, threading, time
from pathlib import Path
import eximcertd.daemon
from eximcertd.certificates.index import Index
from eximcertd.certificates.certificate_watcher import CertificateWatcher

def memory(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))

directory, cache = Path(sys.argv[1]), Path(sys.argv[2])
begun = time.perf_counter()
for entry in os.scandir(os.fsencode(directory)):
    entry.stat()
plain = time.perf_counter() - begun
told = threading.Event()
index = Index(directory, cache)
watch = CertificateWatcher(index, lambda changes: told.set())
begun = time.perf_counter()
watch.start()
told.wait()
first = time.perf_counter() - begun
watch.stop()
rss = memory("VmRSS")
begun = time.perf_counter()
index.refresh()
again = time.perf_counter() - begun
print(json.dumps({"plain": plain, "first": first, "again": again, "rss": rss, "peak": memory("VmHWM"),
                  "distinct": len(index)}))
"""


def rows() -> Iterator[Row]:
    """Measure a first index, its memory, a restart, a look at an unchanged directory, and one new file."""
    count = scaled(100_000, 10_000)
    with TemporaryDirectory(prefix="bench-certificates-") as name:
        place = Path(name)
        certificate = series(place / "made")
        directory, empty, cache = place / "certs", place / "empty", place / "cache.sqlite"
        directory.mkdir()
        empty.mkdir()
        for number in range(count):
            (directory / f"client-{number:06}.pem").write_bytes(_pem(certificate(number)))
        bare = _measured(empty, place / "other.sqlite", 0)
        first = _measured(directory, cache, count)
        work = f"first index of {count:,} files"
        yield Row(work, _against(first, "first"), "3 s", first["first"] <= 3)
        above = (first["rss"] - bare["rss"]) / MIB
        peak = (first["peak"] - bare["peak"]) / MIB
        figure = f"{above:.1f} MiB, at its peak {peak:.1f} MiB"
        yield Row(f"memory of {count:,} certificates above the empty daemon", figure, "60 MiB", max(above, peak) <= 60)
        restart = _measured(directory, cache, count)
        yield Row(f"restart with {count:,} unchanged files", _against(restart, "first"), "1 s", restart["first"] <= 1)
        yield Row(f"the slow look at {count:,} unchanged files", _against(restart, "again"))
        yield _added(directory, count, certificate)


def _pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def _measured(directory: Path, cache: Path, count: int) -> dict[str, Any]:
    command = [sys.executable, "-c", _PROGRAM, str(directory), str(cache)]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    figures: dict[str, Any] = json.loads(said)
    assert figures["distinct"] == count, figures
    return figures


def _against(figures: dict[str, Any], what: str) -> str:
    return f"{figures[what]:.2f} s, {figures[what] / figures['plain']:.1f} x scandir + stat"


def _added(directory: Path, count: int, certificate: Callable[[int], bytes]) -> Row:
    """From the write of a file to its certificate in `pending`, where its fingerprint was refused before."""
    samples = []
    with EximServer() as exim:
        settings = {"certificates": {"directory": str(directory)}}
        with Eximcertd(exim, settings) as daemon, Control(daemon.socket) as control:
            _wait_for(lambda: _status(control)["certificates"]["distinct"] == count)
            for number in range(count, count + scaled(30, 5)):
                der = certificate(number)
                with exim.log.open("ab", buffering=0) as log:
                    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
                    log.write(f"{stamp} [4711] {DEFAULT_MESSAGE} {of_der(der)}\n".encode())
                _wait_for(lambda: _status(control)["counts"]["unmatched"] == 1)
                samples.append(_seconds_until_pending(control, directory / f"client-{number:06}.pem", der))
    work = f"one file added to {count:,}, to its certificate in `pending`"
    return Row(work, milliseconds(samples), "100 ms", quantile(samples, 1.0) <= 0.1)


def _status(control: Control) -> dict[str, Any]:
    status: dict[str, Any] = control.call("Status")["status"]
    return status


def _seconds_until_pending(control: Control, path: Path, der: bytes) -> float:
    fingerprint = of_der(der)
    begun = time.perf_counter()
    path.write_bytes(_pem(der))
    while True:
        entries = control.call("List", standings=["pending"], prefixes=[fingerprint])["entries"]
        taken = time.perf_counter() - begun
        if entries and entries[0]["certificate"] is not None:
            return taken
        assert taken < 10, "the certificate never came to the pending list"


def _wait_for(condition: Callable[[], bool]) -> None:
    begun = time.perf_counter()
    while not condition():
        assert time.perf_counter() - begun < 60, "waited in vain"
        time.sleep(0.01)
