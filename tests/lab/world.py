"""A small world for the model of the promises: the real ledger, publication, publisher and files; a twin of Exim.

The twin stands where the publisher asks Exim (judge) and where it finds and reloads the daemon; all else is the
real code on a real directory. Everything that changes something outside a process is counted, so that a kill,
or somebody's broken configuration, can come before any of it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from eximcertd.decisions.decide import Decider
from eximcertd.ledger import Ledger
from eximcertd.ledger.store import Store
from eximcertd.publication import allowed_directory
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.publication import Publication
from eximcertd.publish import macrofile, safely, settings, transaction
from eximcertd.publish.old_request import UNKNOWN, Answer, Request, decode, encode
from eximcertd.publish.stop import Stop, failed
from eximcertd.settings import AllowlistSettings as Allowlist
from lab.deciding import decide
from lab.records import Records

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Iterator

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.status import Verb

MACRO: Final = "RELAY_FROM_CERTS"
FASTEST: Final = "/dev/shm"  # the model needs thousands of files, and no disk


class Killed(BaseException):
    """SIGKILL, or a power cut."""


class Twin:
    """Exim: its configuration may be broken by somebody, its daemon may not run; it honours what it has loaded."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.running = True
        self.broken = False
        self.broken_at_start = False
        self.loaded = macrofile.parse(MACRO, None)

    def honoured(self) -> frozenset[str]:
        """Return the fingerprints that a new session relays with."""
        if not self.running:
            return frozenset()
        if self.loaded.found.form == "directory":
            return frozenset(path.name for path in self._world.allowed.path.iterdir())
        found = self.loaded.found
        return frozenset(found.fingerprints) - frozenset(found.corrected)

    def load(self) -> None:
        """Read the configuration, as a start or a HUP does."""
        self.running = not self.broken
        if self.running:
            file = self._world.file
            with suppress(Stop):  # a foreign line is somebody else's: the macro is what it was
                self.loaded = macrofile.parse(MACRO, file.read_bytes() if file.exists() else None)

    def judge(self, _: object, value: str | None, candidate: Path | None) -> SimpleNamespace:
        """Stand for judge.judge."""
        if self.broken:
            raise failed("Exim does not accept its configuration", "no_such_option")
        file = candidate or self._world.file
        raw = file.read_bytes() if file.exists() else None
        if value is None or macrofile.parse(MACRO, raw).value != value:
            raise failed("another value")
        return SimpleNamespace()

    def find(self, *_: object) -> SimpleNamespace | None:
        """Stand for exim_daemon.find."""
        return SimpleNamespace(pid=1) if self.running else None

    def reload(self, *_: object) -> bool:
        """Stand for exim_daemon.reload. A HUP on what was broken before the publication began breaks the promise."""
        self._world.effect("publisher")
        assert not (self.broken and self.broken_at_start), "HUP on a configuration that did not pass"
        self.load()
        self._world.effect("publisher")
        return self.running

    def successor(self, *_: object) -> None:
        """Stand for exim_daemon.successor: nobody restarts Exim in this world but by ``start``."""


class World:
    """eximcertd with its state, root's files and Exim, below one directory. Call ``close`` at the end."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="world-", dir=FASTEST if Path(FASTEST).is_dir() else None))
        self.state = self.home / "state"
        for part in (self.state, self.state / "ledger", self.home / "etc"):
            part.mkdir(mode=0o755)
        self.file = self.home / "etc" / "relay_from_certs"
        self.settings = settings.read(
            Path("eximcertd.toml"),
            {
                "allowlist": {"file": str(self.file)},
                "state": {"directory": str(self.state)},
                "publish": {"min_interval": "0s"},
            },
        )
        self.records = Records()
        self.allowlist = Allowlist(form="list")
        self.exim = Twin(self)
        self.allowed = AllowedDirectory(self.state / "allowed")
        self.ledger: Ledger | None = None
        self.publication: Publication | None = None
        self._runner: asyncio.Runner | None = None
        self._kill: tuple[str, int] | None = None
        self._break_after: int | None = None
        self._dead = False
        self._patches = ExitStack()
        self._stand_in()

    def close(self) -> None:
        """End everything and remove the files."""
        self.stop()
        self._patches.close()
        shutil.rmtree(self.home, ignore_errors=True)

    # Faults from outside

    def plan(self, who: str, after: int) -> None:
        """Kill the publisher, the daemon, or both, before the change after so many of theirs."""
        self._kill = (who, after)

    def plan_break(self, after: int) -> None:
        """Let somebody break Exim's configuration in the middle of the next publication."""
        self._break_after = after

    def calm(self) -> None:
        """Forget what was planned and did not come about."""
        self._kill = self._break_after = None

    def effect(self, whose: str) -> None:
        """Something outside the process is about to change."""
        if self._dead:
            raise Killed
        if whose == "publisher" and self._break_after is not None:
            self._break_after -= 1
            if self._break_after < 0:
                self._break_after, self.exim.broken = None, True
        if self._kill is not None and self._kill[0] in {whose, "both"}:
            who, left = self._kill
            self._kill = (who, left - 1)
            if left <= 0:
                self._kill, self._dead = None, True
                raise Killed

    # eximcertd

    def start(self) -> None:
        """Start eximcertd: it looks at what stands, adopts, and publishes what is due. A kill may end it."""

        async def begin() -> None:
            assert self.publication is not None
            await self.publication.start()
            await self.publication.reconcile()

        def opened() -> None:
            self.allowed.prepare()
            self.ledger = Ledger(self.state / "ledger")
            self.publication = Publication(
                self.ledger,
                self.allowed,
                self._ask,
                decider=Decider(self.ledger, self.records),
                allowlist=self.allowlist,
                recorder=self.records,
            )
            self._runner = asyncio.Runner()

        self._guarded(opened)
        self.run(begin)

    def stop(self) -> None:
        """End eximcertd, at once."""
        if self._runner is not None:
            self._runner.close()
        if self.ledger is not None:
            self.ledger.close()
        self._runner = self.ledger = self.publication = None
        self._dead = False
        self._kill = self._break_after = None

    @property
    def up(self) -> bool:
        """Tell whether eximcertd runs."""
        return self.publication is not None

    def decide(self, verb: Verb, fingerprint: Fingerprint) -> bool:
        """Decide as a person does, and publish; return whether eximcertd lived to tell that it is decided."""
        ledger = self.ledger
        assert ledger is not None
        decided = self._guarded(lambda: decide(ledger, verb, fingerprint))
        if decided:
            assert self.publication is not None
            self.run(self.publication.settle)
        return decided

    def run(self, work: Callable[[], Awaitable[object]]) -> None:
        """Run some of eximcertd's work. A kill ends eximcertd."""
        runner = self._runner
        if runner is not None:
            self._guarded(lambda: runner.run(work()))  # type: ignore[arg-type]  # it is a coroutine

    def wanted(self) -> frozenset[str]:
        """Return the list that follows from the ledger."""
        assert self.ledger is not None
        return frozenset(self.ledger.publications.wanted())

    def lose_ledger(self) -> None:
        """Remove the ledger's files; eximcertd must be down."""
        for path in (self.state / "ledger").iterdir():
            path.unlink()

    def _guarded(self, work: Callable[[], object]) -> bool:
        try:
            work()
        except Killed:
            self.stop()
            return False
        return True

    async def _ask(self, request: Request) -> Answer:
        """Be the publisher, in its own process: what kills it alone leaves eximcertd without an answer."""
        self.exim.broken_at_start = self.exim.broken
        alone = self._kill is not None and self._kill[0] == "publisher"
        try:
            answer = transaction.answer(self.settings, decode(encode(request)))
        except Killed:
            if not alone:
                raise
            self._dead = False
            answer = Answer(UNKNOWN, "ask", "it was killed")
        self._break_after = None
        self.effect("daemon")
        return answer

    # What stands in for the world

    def _stand_in(self) -> None:
        for module, whose in ((safely, "publisher"), (allowed_directory, "daemon")):
            self._patches.enter_context(patch.object(module, "os", _Counting(self, whose)))
        for name in ("judge", "exim_daemon"):
            twin = self.exim.judge if name == "judge" else self.exim
            self._patches.enter_context(patch.object(transaction, name, twin))
        self._patches.enter_context(patch.object(transaction, "judge_directory", lambda *_: None))
        real = Store.transaction
        world = self

        @contextmanager
        def transaction_counted(store: Store) -> Iterator[sqlite3.Connection]:
            world.effect("daemon")
            with real(store) as connection:
                yield connection
                world.effect("daemon")
            world.effect("daemon")

        self._patches.enter_context(patch.object(Store, "transaction", transaction_counted))


class _Counting:
    """The os module, with each change outside the process told before it is made."""

    _CHANGES: Final = frozenset({"rename", "unlink", "rmdir", "fchmod", "fsync", "fdopen"})

    def __init__(self, world: World, whose: str) -> None:
        self._world = world
        self._whose = whose

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name == "open":
            return self._open
        if name not in self._CHANGES:
            return real

        def counted(*arguments: Any, **options: Any) -> Any:
            self._world.effect(self._whose)
            return real(*arguments, **options)

        return counted

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT:
            self._world.effect(self._whose)
        return os.open(path, flags, mode, dir_fd=dir_fd)
