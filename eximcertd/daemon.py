"""eximcertd: the loop that connects the parts; start, stop and reload."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eximcertd import __version__
from eximcertd.certificates.certificate_watcher import CertificateWatcher
from eximcertd.certificates.index import CertificateChanges, Index
from eximcertd.certificates.issuers import Issuers
from eximcertd.certificates.lookup import CertificateLookup
from eximcertd.config import DEFAULT_FILE, DaemonConfig, adopted, load
from eximcertd.control.methods import Services, handlers
from eximcertd.control.methods.watching import Watching
from eximcertd.control.rights import rights_of
from eximcertd.control.server import Server
from eximcertd.decisions.decide import Decider
from eximcertd.decisions.offline import take_offline_decisions
from eximcertd.decisions.resolve import Resolver
from eximcertd.errors import EximcertdError
from eximcertd.events import Event
from eximcertd.intake import Intake
from eximcertd.journal import Recorder, recorder
from eximcertd.ledger import Ledger, open_ledger
from eximcertd.log.choose import LOOK_EVERY, source_of
from eximcertd.maintenance.arrivals import Arrivals
from eximcertd.maintenance.clock import Clock
from eximcertd.maintenance.enrolling import Enrolling
from eximcertd.maintenance.expiry import Expiry
from eximcertd.maintenance.forgetting import Forgetting
from eximcertd.maintenance.health import Health
from eximcertd.maintenance.metrics import Metrics
from eximcertd.maintenance.notifications import Notifications
from eximcertd.maintenance.policy import Policy
from eximcertd.maintenance.renewals import Renewals
from eximcertd.maintenance.scheduler import Maintenance, Scheduler
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.ask import Programs
from eximcertd.publication.publisher import Publisher
from eximcertd.publication.retry import watched_files
from eximcertd.service_manager import Notifier

if TYPE_CHECKING:
    from collections.abc import Coroutine

_FIRST_PUBLICATION: Final = 60.0
_WHILE_BEHIND: Final = 0.5  # seconds between two STATUS lines
_SIGNS: Final = 3  # signs of life per watchdog interval


class Daemon:
    """One running eximcertd. ``run`` returns after SIGTERM or SIGINT."""

    def __init__(self, config: DaemonConfig, recorder: Recorder) -> None:
        self._config = config
        recorder = self._notifications = Notifications(recorder, lambda: self._config.notify)
        self._recorder = recorder
        self._notifier = Notifier()
        self._notice = ""  # what the last reload left to do, for STATUS
        self._stop = asyncio.Event()
        self._republishing: asyncio.Task[None] | None = None
        state = config.state.directory
        self._ledger = _open_ledger(config, recorder)
        self._allowed = AllowedDirectory(state / "allowed")
        self._allowed.prepare()
        self._decider = Decider(self._ledger, recorder)
        take_offline_decisions(state / "offline", state / "published/offline-taken", self._ledger, self._decider)
        self._programs = Programs(config)
        self._publication = Publisher(
            self._ledger,
            self._allowed,
            self._programs,
            decider=self._decider,
            allowlist=config.allowlist,
            recorder=recorder,
            watched=watched_files(config),
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises EximcertdError for what keeps it from its work."""
        loop = asyncio.get_running_loop()
        index = Index(self._config.certificates.directory, self._config.state.directory / "ledger/certificates.cache")
        ready = asyncio.Event()
        watch = CertificateWatcher(index, lambda changes: _call_soon(loop, changed, changes))
        certificates = CertificateLookup(index, self._ledger.shown.of)
        arrivals = Arrivals(self._ledger, certificates, issuers := Issuers(index), self._recorder)
        intake = self._intake(index, arrivals)
        maintenance = self._maintenance(certificates, watch, arrivals, intake)
        intake.shown.append(maintenance.enrolling.observed)
        self._scheduler = Scheduler(self._config, maintenance, self._publication, self._recorder)
        watching = Watching(self._ledger)
        self._decider.watchers += [self._scheduler.decided, watching.decided]
        services = Services(
            self._ledger,
            certificates,
            issuers,
            intake,
            self._decider,
            Resolver(self._ledger, index),
            self._publication,
            maintenance,
            lambda: self._config,
        )
        policy = Policy(
            lambda: self._config.policy,
            services.entries_of,
            services.known,
            decider=self._decider,
            publication=self._publication,
            recorder=self._recorder,
        )
        arrivals.watchers += [watching.seen, self._notifications.seen, policy.seen]
        rights, told = rights_of(self._config)
        methods, works = handlers(services, watching, self._recorder)
        self._server = Server(self._config.control.socket, rights, methods)

        def changed(changes: CertificateChanges) -> None:
            ready.set()
            self._scheduler.certificates_changed(changes.appeared, changes.vanished)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            watch.start()
            await self._wait(ready.wait())
            # no decision before the macro file was read: a lost ledger is rebuilt from it first
            await self._wait(self._begin_publishing(maintenance))
            if not self._stop.is_set():
                notifying = self._notifications.run(lambda: self._publication.live, services.entries_of)
                metrics = Metrics(
                    lambda: self._config.metrics.file,
                    self._ledger,
                    intake=intake,
                    publication=self._publication,
                    loads=self._programs.loads,
                    expiry=maintenance.expiry,
                    recorder=self._recorder,
                )
                await self._serve(intake, told, notifying, policy.run(), metrics.run(), *(work() for work in works))
        finally:
            self._notifier.stopping()
            await self._server.close()
            await intake.stop()
            await self._publication.stop()
            watch.stop()
            self._ledger.close()

    def _intake(self, index: Index, arrivals: Arrivals) -> Intake:
        look_every = min(LOOK_EVERY, (self._notifier.watchdog or math.inf) / _SIGNS)
        name, sightings = self._config.log.source, self._ledger.sightings
        source = source_of(
            self._config,
            sightings.position(name),
            sightings.files().values(),
            known=index.__contains__,
            look_every=look_every,
        )
        return Intake(name, source, self._ledger, index=index, recorder=self._recorder, seen=arrivals.pending)

    def _maintenance(
        self, certificates: CertificateLookup, watch: CertificateWatcher, arrivals: Arrivals, intake: Intake
    ) -> Maintenance:
        clock = Clock(self._ledger.running_time)
        expiry = Expiry(self._ledger, certificates, self._recorder)
        health = Health(
            self._ledger,
            certificates.index,
            intake=intake,
            publication=self._publication,
            expiry=expiry,
            clock=clock,
            recorder=self._recorder,
            watch_problem=lambda: watch.problem,
        )
        enrolling = Enrolling(self._ledger, self._decider, self._recorder, self._allowed, self._publication)
        forgetting, renewals = Forgetting(self._ledger, self._recorder), Renewals(self._ledger, self._decider)
        return Maintenance(clock, arrivals, expiry, renewals, forgetting, health, enrolling)

    async def _serve(self, intake: Intake, told: str, *others: Coroutine[Any, Any, None]) -> None:
        """Serve until a signal to stop. A task that failed ends the daemon with its error: systemd starts it again."""
        await self._server.start()
        intake.start()
        self._recorder.record(Event.STARTED, f"eximcertd {__version__} started{told}")
        self._notifier.ready()
        tasks = [asyncio.create_task(one) for one in (self._scheduler.run(), self._signs_of_life(intake), *others)]
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stop, *tasks):
            if task.done():
                task.result()
            task.cancel()

    async def _begin_publishing(self, maintenance: Maintenance) -> None:
        with contextlib.suppress(EximcertdError):  # a full disk: the scheduler's first round does it, and reports it
            maintenance.expiry.derive(maintenance.clock.now(), self._config.publish.max_shrink)
        await self._publication.start()
        await self._publication.settle(await maintenance.enrolling.resume())
        await self._publication.reconcile()

    async def _wait(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for a task of the start, up to a limit, or until the daemon is to stop."""
        task = asyncio.create_task(work)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({task, stop}, timeout=_FIRST_PUBLICATION, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()

    def _reload(self) -> None:
        """Read the configuration again; one with a mistake leaves the old one running."""
        self._notifier.reloading()
        file = str(self._config.file)
        try:
            config = load(self._config.file)
            rights, told = rights_of(config)
        except EximcertdError as error:
            self._recorder.record(
                Event.CONFIGURATION_REFUSED, f"The old configuration stays: {error.line()}", FILE=file
            )
            self._notice = f"configuration refused, the old one runs: {error.line()}"
        else:
            config, restart = adopted(self._config, config)
            self._config = config
            self._server.set_rights(rights)
            self._programs.config = config
            self._publication.allowlist = config.allowlist
            self._ledger.sightings.unmatched_limit = config.queue.unmatched_limit
            self._scheduler.configure(config)
            self._republishing = asyncio.get_running_loop().create_task(self._publication.republish())
            self._notice = f"a change of {', '.join(restart)} waits for a restart of eximcertd" if restart else ""
            self._recorder.record(
                Event.CONFIGURATION_RELOADED,
                f"The configuration was read again{told}" + (f"; {self._notice}" if restart else ""),
                FILE=file,
            )
        finally:
            self._notifier.status(self._notice)
            self._notifier.ready()

    async def _signs_of_life(self, intake: Intake) -> None:
        """Tell systemd that loop and reader make progress, as long as both do, and how far the reader is."""
        if not self._notifier.wanted:
            await self._stop.wait()
            return
        interval = self._notifier.watchdog / _SIGNS if self._notifier.watchdog else LOOK_EVERY
        beat, pause = -1, min(_WHILE_BEHIND, interval)  # the reader has only just begun
        while True:
            now = intake.beat()
            if now != beat:
                beat = now
                self._notifier.alive()
            progress = intake.progress()
            behind = progress.behind_bytes >> 20
            told = f"reading {progress.path}: {behind} MiB to go" if behind else self._notice or progress.problem
            self._notifier.status(told or "")
            await asyncio.sleep(pause)
            pause = min(_WHILE_BEHIND, interval) if behind else interval


def _open_ledger(config: DaemonConfig, recorder: Recorder) -> Ledger:
    ledger, damage = open_ledger(config.state.directory / "ledger", config.queue.unmatched_limit)
    ledger.join_fleet(config.fleet.relay)
    if damage is not None:
        recorder.record(Event.LEDGER_DAMAGED, damage.message, FILE=str(damage.aside))
    return ledger


def _call_soon(loop: asyncio.AbstractEventLoop, function: object, *arguments: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]


def main() -> None:
    """Run eximcertd; exits with a status of eximcertd.errors.Exit."""
    parser = argparse.ArgumentParser(prog="eximcertd", description="Let Exim relay for clients by their certificate.")
    parser.add_argument("--config", type=Path, default=DEFAULT_FILE, help=f"configuration file ({DEFAULT_FILE})")
    parser.add_argument("--version", action="version", version=f"eximcertd {__version__}")
    arguments = parser.parse_args()
    os.umask(0o077)
    # libraries (watchdog, asyncio) log only their warnings and errors
    logging.basicConfig(level=logging.ERROR, format="eximcertd: %(name)s: %(message)s")
    try:
        asyncio.run(_run(load(arguments.config)))
    except EximcertdError as error:
        print(f"eximcertd: {error}", file=sys.stderr)  # noqa: T201 - a daemon that cannot start says so here
        sys.exit(error.exit_status)


async def _run(config: DaemonConfig) -> None:
    await Daemon(config, recorder()).run()
