"""eximcertd without a control socket, in this process: the rounds of the scheduler, over twins of the two programs."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from eximcertd.certificates.index import Index
from eximcertd.certificates.issuers import Issuers
from eximcertd.certificates.lookup import CertificateLookup
from eximcertd.decisions.decide import Decider
from eximcertd.fingerprint import Fingerprint
from eximcertd.intake import Intake
from eximcertd.ledger import Ledger
from eximcertd.log.line import Grammar
from eximcertd.log.tailer import Tailer
from eximcertd.maintenance.arrivals import Arrivals
from eximcertd.maintenance.clock import Clock
from eximcertd.maintenance.enrolling import Enrolling
from eximcertd.maintenance.expiry import Expiry
from eximcertd.maintenance.forgetting import Forgetting
from eximcertd.maintenance.health import Health
from eximcertd.maintenance.renewals import Renewals
from eximcertd.maintenance.scheduler import Maintenance, Scheduler, Timing
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.publisher import Publisher
from eximcertd.settings import DEFAULT_MESSAGE, AllowlistSettings, Config
from lab.publisher import TwinPrograms
from lab.records import Records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

ONE, TWO, OURS = (Fingerprint(f"{n:08X}".ljust(64, "0")) for n in (1, 2, 3))
NEVER = 1e9
FAST = Timing(soon=0.01, tick=0.01, verify=NEVER, reconcile=NEVER)


class DaemonParts:
    """What eximcertd consists of, each part of it real, over twins of the two programs; nothing runs by itself."""

    def __init__(self, directory: Path) -> None:
        for name in ("ledger", "certificates"):
            (directory / name).mkdir()
        self.log = directory / "mainlog"
        self.log.touch()
        self.ledger, self.records = Ledger(directory / "ledger"), Records()
        self.decider = Decider(self.ledger, self.records)
        self.programs = TwinPrograms(directory / "macro")
        self.allowed = AllowedDirectory(directory / "allowed")
        self.allowed.prepare()
        self.index = Index(directory / "certificates")
        self.source = Tailer(self.log, Grammar(DEFAULT_MESSAGE))

    def close(self) -> None:
        self.source.close()
        self.ledger.close()


class ScheduledParts(DaemonParts):
    """eximcertd without a control socket: everything that time concerns, over twins of the two programs."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.config = Config(allowlist=AllowlistSettings(form="list"))
        self.wall: Callable[[], float] = time.time

    @asynccontextmanager
    async def running(self, timing: Timing) -> AsyncIterator[Scheduler]:
        """Publish what is due, then go round."""
        publication = Publisher(
            self.ledger,
            self.allowed,
            self.programs_asked(),
            decider=self.decider,
            allowlist=self.config.allowlist,
            recorder=self.records,
        )
        await publication.start()
        certificates = CertificateLookup(self.index, self.ledger.shown.of)
        arrivals = Arrivals(self.ledger, certificates, Issuers(self.index), self.records)
        intake = Intake(
            "file", self.source, self.ledger, index=self.index, recorder=self.records, seen=arrivals.pending
        )
        clock, expiry = Clock(self.ledger.running_time, self.now), Expiry(self.ledger, certificates, self.records)
        health = Health(
            self.ledger,
            self.index,
            intake=intake,
            publication=publication,
            expiry=expiry,
            clock=clock,
            recorder=self.records,
            watch_problem=lambda: None,
        )
        maintenance = Maintenance(
            clock,
            arrivals,
            expiry,
            Renewals(self.ledger, self.decider),
            Forgetting(self.ledger, self.records),
            health,
            Enrolling(self.ledger, self.decider, self.records, self.allowed, publication),
        )
        scheduler = Scheduler(self.config, maintenance, publication, self.records, timing)
        self.decider.watchers = [scheduler.decided]
        task = asyncio.create_task(scheduler.run())
        try:
            yield scheduler
        finally:
            task.cancel()
            await publication.stop()

    def now(self) -> float:
        """Return what the machine's clock says."""
        return self.wall()

    def programs_asked(self) -> Programs:
        return Programs(self.programs)


class Programs:
    """The twins as the publisher asks them."""

    def __init__(self, twins: TwinPrograms) -> None:
        self.publish = twins.publish
        self.reload = twins.reload


async def until(condition: Callable[[], object]) -> None:
    """Wait for what is bound to happen."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


def run(
    parts: ScheduledParts, timing: Timing, condition: Callable[[], object], begin: Callable[[], object] = lambda: None
) -> None:
    """Go round until something is so. begin: what is done after the first publication."""

    async def work() -> None:
        async with parts.running(timing):
            begin()
            await until(condition)

    asyncio.run(work())
