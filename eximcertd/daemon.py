"""eximcertd: the loop that wires the rooms and owns all state."""

from __future__ import annotations

import argparse
import asyncio
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
from eximcertd.config import DEFAULT_FILE, Config, load
from eximcertd.control.methods import Methods, Services
from eximcertd.control.rights import Rights
from eximcertd.control.server import Server
from eximcertd.decisions.decide import Deciding
from eximcertd.decisions.offline import take_offline_decisions
from eximcertd.errors import EximcertdError
from eximcertd.events import Event
from eximcertd.intake import Intake
from eximcertd.journal import Recorder, recorder
from eximcertd.ledger import DamagedError, Ledger, move_aside
from eximcertd.log.choose import LOOK_EVERY, source_of
from eximcertd.maintenance.maintenance import Maintenance
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.publication import Publication
from eximcertd.publish.client import ask
from eximcertd.service_manager import Notifier

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.publish.old_request import Answer, Request

PUBLISHER_LIMIT: Final = 300.0  # Exim needs 220 s to read a list of a million
_FIRST_PUBLICATION: Final = 60.0
_WHILE_BEHIND: Final = 0.5  # seconds between two STATUS lines
_SIGNS: Final = 3  # signs of life per watchdog interval


class Daemon:
    """One running eximcertd. ``run`` returns when it was told to stop."""

    def __init__(self, config: Config, recorder: Recorder) -> None:
        self._config = config
        self._recorder = recorder
        self._notifier = Notifier()
        self._refused = ""  # why the last reload was, for STATUS
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._republishing: asyncio.Task[None] | None = None
        state = config.state.directory
        self._ledger, aside = _open_ledger(state / "ledger", config.queue.unmatched_limit)
        if aside is not None:
            recorder.record(
                Event.HAND_EDIT_FOUND,
                f"The ledger was damaged and is kept as {aside}; a new one is made from what Exim honours now."
                " Rejections, revocations and history are in the old file only.",
            )
        directory = AllowedDirectory(state / "allowed")
        directory.prepare()
        taken = take_offline_decisions(state / "offline", self._ledger, state / "ledger" / "offline-taken")
        if taken:
            recorder.record(Event.REVOKED, f"{taken} decisions were made while eximcertd was down")
        self._index = Index(config.certificates.directory, state / "ledger" / "certificates.cache")
        self._publication = Publication(
            self._ledger, directory, self._ask, allowlist=config.allowlist, recorder=recorder, watched=_watched(config)
        )
        self._deciding = Deciding(self._ledger, self._index, recorder)
        self._maintenance = Maintenance(
            config, self._ledger, self._index, publication=self._publication, recorder=recorder, seen=self._seen
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises EximcertdError for what keeps it from its work."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        ready = asyncio.Event()
        watch = CertificateWatcher(
            self._index, lambda changes: _call_soon(loop, self._certificates_changed, changes, ready)
        )
        self._maintenance.watch_problem = lambda: watch.problem
        look_every = min(LOOK_EVERY, (self._notifier.watchdog or math.inf) / _SIGNS)
        name, sightings = self._config.log.source, self._ledger.sightings
        source = source_of(self._config, sightings.position(name), sightings.files().values(), look_every)
        intake = Intake(name, source, self._ledger, index=self._index, recorder=self._recorder, seen=self._seen)
        self._maintenance.intake = intake
        methods = Methods(
            Services(self._ledger, self._index, intake, self._deciding, self._publication, self._maintenance)
        )
        self._methods = methods
        rights = Rights.of_groups(self._config.control.readers, self._config.control.approvers)
        server = Server(self._config.control.socket, rights, methods.handlers())
        try:
            watch.start()
            await self._wait(ready.wait())
            # nobody decides before what stands was looked at: a lost ledger is rebuilt from it first
            await self._wait(self._begin_publishing())
            if not self._stop.is_set():
                await server.start()
                intake.start()
                self._recorder.record(Event.STARTED, f"eximcertd {__version__} started")
                self._notifier.ready()
                self._tasks = [loop.create_task(self._maintenance.run()), loop.create_task(self._signs_of_life(intake))]
                await self._serve()
        finally:
            self._notifier.stopping()
            for task in self._tasks:
                task.cancel()
            await server.close()
            await intake.stop()
            await self._publication.stop()
            watch.stop()
            self._ledger.close()

    async def _serve(self) -> None:
        """Wait until told to stop. A task that failed ends the daemon, aloud: systemd starts it again."""
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stop, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in self._tasks:
            if task.done():
                task.result()

    async def _begin_publishing(self) -> None:
        await self._publication.start()
        await self._publication.reconcile()

    async def _wait(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for work of the start, but not for ever, and not once the daemon is told to stop."""
        task = asyncio.create_task(work)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({task, stop}, timeout=_FIRST_PUBLICATION, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()

    async def _ask(self, request: Request) -> Answer:
        publish = self._config.publish
        return await asyncio.to_thread(ask, publish.via, self._config.file, request, PUBLISHER_LIMIT)

    def _certificates_changed(self, changes: CertificateChanges, ready: asyncio.Event) -> None:
        ready.set()
        self._maintenance.changed(changes)

    def _seen(self, fresh: Sequence[Fingerprint]) -> None:
        details = self._index.details_of(fresh)
        for fingerprint in fresh:
            certificate = details.get(fingerprint)
            self._recorder.record(
                Event.ATTEMPT_SEEN,
                f"A client with certificate {fingerprint} was refused and waits for a decision",
                FINGERPRINT=fingerprint,
                SUBJECT=certificate.subject if certificate else "",
            )
        self._methods.tell("seen", fresh)

    def _reload(self) -> None:
        """Read the configuration again; a mistake in it keeps the old one running."""
        self._notifier.reloading()
        try:
            config = load(self._config.file)
            self._adopt(config)
        except EximcertdError as error:
            self._recorder.record(
                Event.CONFIGURATION_REFUSED, f"The old configuration stays: {error}", FILE=str(self._config.file)
            )
            self._refused = f"configuration refused, the old one runs: {error.message}"
        else:
            self._recorder.record(
                Event.CONFIGURATION_RELOADED, "The configuration was read again", FILE=str(self._config.file)
            )
            self._refused = ""
        finally:
            self._notifier.status(self._refused)
            self._notifier.ready()

    def _adopt(self, config: Config) -> None:
        """Take over what can change while running; the rest needs a restart, and says so."""
        old = self._config
        fixed = [name for name in ("log", "exim", "state", "control") if getattr(old, name) != getattr(config, name)]
        if old.certificates.directory != config.certificates.directory:
            fixed.append("certificates.directory")
        if fixed:
            raise EximcertdError(f"a change of {', '.join(fixed)} needs a restart", hint="systemctl restart eximcertd")
        self._config = config
        self._publication.allowlist = config.allowlist
        self._maintenance.config = config
        self._ledger.sightings.unmatched_limit = config.queue.unmatched_limit
        self._republishing = asyncio.get_running_loop().create_task(self._publication.republish())

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
            if behind:
                self._notifier.status(f"reading {progress.path}: {behind} MiB to go")
            else:
                self._notifier.status(self._refused or progress.problem or "")
            await asyncio.sleep(pause)
            pause = min(_WHILE_BEHIND, interval) if behind else interval


def _open_ledger(directory: Path, unmatched_limit: int) -> tuple[Ledger, Path | None]:
    """Open the ledger; a damaged one is moved aside, and a new one begun."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o700)  # systemd makes it 0755, as allowed/ beside it has to be
    except OSError as error:
        raise EximcertdError(
            f"{directory}: the ledger's directory cannot be made: {error.strerror}",
            hint="[state] directory must exist; below it, ledger/ and allowed/ must belong to eximcertd's user.",
        ) from error
    try:
        return Ledger(directory, unmatched_limit), None
    except DamagedError:
        aside = move_aside(directory)
        return Ledger(directory, unmatched_limit), aside


def _watched(config: Config) -> list[Path]:
    """Return files and directories whose change may mend a configuration that Exim refuses."""
    places = [config.exim.config, config.allowlist.file]
    found = [path for path in places if path is not None]
    found += [path.parent for path in found]
    debian = [Path("/etc/exim4"), Path("/etc/exim4/exim4.conf"), Path("/var/lib/exim4/config.autogenerated")]
    return [*found, *debian, Path("/etc/exim")]


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
    # libraries that talk about themselves (watchdog, asyncio) are heard when something is wrong, not before
    logging.basicConfig(level=logging.ERROR, format="eximcertd: %(name)s: %(message)s")
    try:
        asyncio.run(_run(load(arguments.config)))
    except EximcertdError as error:
        print(f"eximcertd: {error}", file=sys.stderr)  # noqa: T201 - a daemon that cannot start says so here
        sys.exit(error.exit_status)


async def _run(config: Config) -> None:
    await Daemon(config, recorder()).run()
