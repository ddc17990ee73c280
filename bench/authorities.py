"""Authorities: a new client's first try, a thousand of them, a withdrawal, and a queue of unknown issuers.

Everything is real, but for the 100,000 and the million certificates: those are rows that SQL puts into the ledger, and
files of the directory.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import hashlib
import os
import sqlite3
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from lab.authorities import Signer
from lab.authority import relay
from lab.publisher import TwinPrograms
from lab.records import Records
from lab.smtp import ask
from lab.wait import until

from bench.harness import Row, milliseconds, quantile, scaled
from eximcertd.authorities.authority import Authority
from eximcertd.decisions.decide import Decider
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.ledger.authorities import Enrolment
from eximcertd.ledger.decisions import Decision
from eximcertd.ledger.identities import Identity
from eximcertd.log.line import DEFAULT_MESSAGE
from eximcertd.log.sighting import Sighting
from eximcertd.maintenance.enrolling import Enrolling
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.publisher import Publisher
from eximcertd.settings import AllowlistSettings
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.daemon import Eximcertd
    from lab.exim import EximServer

CLIENTS = 20


def rows() -> Iterator[Row]:
    """Measure on one Exim with the pinned recipe, then without one."""
    with TemporaryDirectory() as name, relay("pinned") as (exim, daemon):
        directory, site = Path(name), Signer("Site CA")
        (directory / "site.pem").write_bytes(site.pem)
        daemon.start()
        daemon.json("authority", "add", str(directory / "site.pem"))
        yield _first_try(exim, directory, site)
        yield from _many(exim, daemon, directory, site)
        begun = time.perf_counter()
        ended = daemon.json("authority", "withdraw", site.fingerprint)["ended"]
        yield Row(f"`authority withdraw`, {ended:,} certificates", f"{time.perf_counter() - begun:.2f} s")
        yield _issuers(exim, daemon)
    with TemporaryDirectory() as name:
        yield from asyncio.run(_rows_of_the_ledger(Path(name)))
    with TemporaryDirectory() as name, relay("pinned") as (exim, daemon):
        site = Signer("Site CA")
        (Path(name) / "site.pem").write_bytes(site.pem)
        daemon.start()
        daemon.json("authority", "add", str(Path(name) / "site.pem"))
        yield _a_million(exim, daemon, site)


def _first_try(exim: EximServer, directory: Path, site: Signer) -> Row:
    samples = []
    for number in range(scaled(50, 5)):
        leaf = site.issue(f"first{number}.example").identity(directory)
        begun = time.perf_counter()
        while not (answer := ask(exim.port, leaf)).accepted:
            assert answer.deferred, answer
        samples.append(time.perf_counter() - begun)
    met = statistics.median(samples) < 1.3 and quantile(samples, 0.99) < 2.5
    return Row("a new client's first try until 250, connection included", milliseconds(samples), "median 1.3 s", met)


def _many(exim: EximServer, daemon: Eximcertd, directory: Path, site: Signer) -> Iterator[Row]:
    leaves = [site.issue(f"many{number}.example").identity(directory) for number in range(scaled(1000, 40))]
    cpu, begun = _cpu(daemon.pid), time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        codes = [answer.code for answer in pool.map(lambda leaf: ask(exim.port, leaf, limit=60), leaves)]
    took, cpu = time.perf_counter() - begun, _cpu(daemon.pid) - cpu
    wrong = sum(code not in {250, 451} for code in codes)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        until(lambda: all(pool.map(lambda leaf: ask(exim.port, leaf, limit=60).accepted, leaves)), "all", limit=300)
    what = f"{len(leaves):,} new clients, {CLIENTS} at once"
    yield Row(what, f"{took:.1f} s; {codes.count(451)} got 451 first, {wrong} a wrong answer", "none wrong", wrong == 0)
    yield Row(f"CPU of eximcertd for each of them ({what})", f"{1000 * cpu / len(leaves):.1f} ms")


def _issuers(exim: EximServer, daemon: Eximcertd) -> Row:
    issuers = [Signer(f"CA {number}") for number in range(50)]
    many = scaled(10_000, 500)
    with exim.log.open("ab") as log:
        for number in range(many):
            leaf = issuers[number % 50].issue(f"waiting{number}.example")
            printed = hashlib.sha256(leaf.issuer.name.encode() if leaf.issuer else b"").hexdigest().upper()
            stamp = time.strftime("%Y-%m-%d %H:%M:%S").encode()
            shown = f"Certificate of the attempt: {leaf.fingerprint} {printed} {base64.b64encode(leaf.der).decode()}"
            for line in (shown, f"{DEFAULT_MESSAGE} {leaf.fingerprint}"):
                log.write(stamp + b" [4711] " + line.encode() + b"\n")
    until(lambda: daemon.status()["counts"]["pending"] >= many, "all are pending", limit=300)
    begun = time.perf_counter()
    said = daemon.ctl("pending").stdout
    took = time.perf_counter() - begun
    assert said.count("issued by") == 50, said
    return Row(f"`pending` with {many:,} certificates of 50 unknown issuers", f"{took:.2f} s, {len(said):,} characters")


async def _rows_of_the_ledger(directory: Path) -> list[Row]:
    (directory / "ledger").mkdir()
    ledger = Ledger(directory / "ledger")
    decider, records = Decider(ledger, Records()), Records()
    allowed = AllowedDirectory(directory / "allowed")
    allowed.prepare()
    publisher = Publisher(
        ledger, allowed, TwinPrograms(directory / "macro"), decider=decider,
        allowlist=AllowlistSettings(form="directory"), recorder=records,
    )  # fmt: skip
    await publisher.start()
    enrolling = Enrolling(ledger, decider, records, allowed, publisher)
    decided = enrolling.authorities
    authority = Authority.of(Signer("Site CA").der)
    decided.add(Decision(authority.fingerprint, Verb.AUTHORIZE, "alice", 1, "", "1"), authority)
    many = scaled(20_000, 2_000)
    fingerprints = list(_fingerprints(many))
    begun = time.process_time()
    for start in range(0, many, 1000):
        part = fingerprints[start : start + 1000]
        ledger.sightings.record("file", str(start), [Sighting(one, 1, 1, 1) for one in part], lambda _: True)
        rows = [Identity(one, one, f"CN={one[:8]}", "CN=Site CA", 1 << 44, 1) for one in part]
        decided.enrol([Enrolment(authority.fingerprint, int(one.spki, 16), (one.subject,), one) for one in rows], 1)
        await publisher.settle(part)
    enrolled = time.process_time() - begun
    all_of_them = scaled(100_000, 5_000)
    _fill(directory, authority.fingerprint, _fingerprints(all_of_them, many))
    decided.withdraw(Decision(authority.fingerprint, Verb.WITHDRAW, "alice", 2, "", "2"), authority.name)
    watching = asyncio.create_task(_longest_wait())
    cpu, wall = time.process_time(), time.perf_counter()
    assert await enrolling.end() == all_of_them
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await asyncio.sleep(0.02)
    watching.cancel()
    assert not allowed.contents().fingerprints
    assert publisher.live
    ledger.close()
    what = f"{wall:.1f} s, {cpu:.1f} s of CPU; the loop waits {1000 * max(_waits):.0f} ms at most"
    return [
        Row(f"{many:,} enrolments, in portions of 1,000, published", f"{enrolled:.1f} s of CPU"),
        Row(f"a withdrawal of {all_of_them:,}, published", what, "5 s, 200 ms", wall < 5 and max(_waits) < 0.2),
    ]


_waits: Final = [0.0]


async def _longest_wait() -> None:
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        _waits.append(time.perf_counter() - begun)


def _a_million(exim: EximServer, daemon: Eximcertd, site: Signer) -> Row:
    daemon.stop()
    many = scaled(1_000_000, 20_000)
    _fill(daemon.state, site.fingerprint, _fingerprints(many))
    begun = time.perf_counter()
    daemon.start(limit=120)
    until(lambda: daemon.status()["allowlist"]["live"], "the start is over", limit=120)
    took = time.perf_counter() - begun
    with exim.log.open("ab") as log:  # an attempt of nobody: a round of maintenance follows
        log.write(time.strftime("%Y-%m-%d %H:%M:%S").encode() + f" [1] {DEFAULT_MESSAGE} {'AB' * 32}\n".encode())
    until(lambda: daemon.status()["counts"]["unmatched"], "it is counted", limit=60)
    assert daemon.status()["authorities"]["enrolled"] == many
    spent = _cpu(daemon.pid)
    time.sleep(scaled(130, 8))  # two rounds of maintenance
    spent = _cpu(daemon.pid) - spent
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    now, peak = (int(status.partition(f"{name}:")[2].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    figure = f"{took:.1f} s, {now:.0f} MiB now, {peak:.0f} MiB peak; {spent:.1f} s of CPU in the two minutes after it"
    return Row(f"start of eximcertd at {many:,} enrolled", figure, "10 s, 300 MiB", took < 10 and peak < 300)


def _fingerprints(many: int, first: int = 0) -> Iterator[Fingerprint]:
    return (Fingerprint(hashlib.sha256(b"%d" % number).hexdigest().upper()) for number in range(first, many))


def _fill(state: Path, authority: Fingerprint, fingerprints: Iterable[Fingerprint]) -> None:
    """Put enrolled certificates into a ledger and STATE/allowed, as they are once they were published."""
    names = sorted(fingerprints)
    with sqlite3.connect(state / "ledger/ledger.sqlite") as db:
        db.executemany(
            "INSERT INTO entry (fingerprint, standing, attempts, first_seen, last_seen, host, helo, sender, recipient,"
            " publishing, confirmed, matched) VALUES (?, 'approved', 1, 1, 1, '192.0.2.1', 'laptop.example',"
            " 'alice@example.org', 'bob@example.com', 1, 1, 2)",
            ((name,) for name in names),
        )
        db.executemany(
            "INSERT INTO identity (fingerprint, spki, subject, issuer, not_after, not_before)"
            " VALUES (?1, ?1, 'CN=' || ?1 || '.example', 'CN=Site CA', 17592186044416, 1)",
            ((name,) for name in names),
        )
        db.executemany(
            "INSERT INTO enrolment VALUES (?1, ?2, ?3, '[\"' || ?1 || '.example\"]', 1)",
            ((name, authority, str(int(name[:32], 16))) for name in names),
        )
    db.close()
    allowed = AllowedDirectory(state / "allowed")
    allowed.make(names)
    os.sync()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
