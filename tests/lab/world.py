"""A small world for the model of the promises: the real ledger, publication, three programs and files; a twin of Exim.

The twin stands where eximcertd-reload asks Exim and where it reloads the daemons; all else is the real code on a real
directory. Everything that changes something outside a process is counted, so that a kill, or somebody's broken
configuration, can come before any of it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeVar
from unittest.mock import patch

from eximcertd.decisions.decide import Decider
from eximcertd.ledger import Ledger
from eximcertd.ledger.store import Store
from eximcertd.publication import allowed_directory
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.ask import UNKNOWN, decode_reload
from eximcertd.publication.attempt import value_digest
from eximcertd.publication.publisher import Publisher
from eximcertd.publish import macrofile, secure_files, transaction
from eximcertd.publish.error import PublishError
from eximcertd.publish.request import Answer, Request
from eximcertd.reload import program
from eximcertd.reload.request import DIED, INVALID, LOADED, NOT_RUNNING, ReloadAnswer, ReloadError, encode_answer
from eximcertd.settings import AllowlistSettings, parse
from lab.deciding import decide
from lab.records import Records

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Iterator

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.status import Verb

MACRO: Final = "RELAY_FROM_CERTS"
FASTEST: Final = "/dev/shm"  # the model needs thousands of files, and no disk


_Given = TypeVar("_Given")


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
        found = self.loaded
        if found.form == "directory":
            return frozenset(path.name for path in self._world.allowed.path.iterdir())
        return frozenset(found.fingerprints) - frozenset(found.corrected)

    def load(self) -> None:
        """Read the configuration, as a start or a HUP does."""
        self.running = not self.broken
        if self.running:
            file = self._world.file
            with suppress(PublishError):  # a foreign line is somebody else's: the macro is what it was
                self.loaded = macrofile.parse(MACRO, file.read_bytes() if file.exists() else None)

    def candidate(self, *_: object) -> SimpleNamespace:
        """Stand for reload.validate.candidate."""
        if self.broken:
            raise ReloadError(INVALID, "Exim rejects its configuration", exim="no_such_option")
        return SimpleNamespace(facts=None, value="", seconds=0.0)

    def live(self, _: object, digest: str) -> SimpleNamespace:
        """Stand for reload.validate.live."""
        validated = self.candidate()
        file = self._world.file
        found = macrofile.parse(MACRO, file.read_bytes() if file.exists() else None)
        if found.form == "list" and not found.corrected and not found.dropped:
            value = macrofile.list_value(found.fingerprints)
        else:
            value = macrofile.lookup_value(self._world.allowed.path) if found.form == "directory" else "another"
        if value_digest(value) != digest:
            raise ReloadError(INVALID, "Exim has another value")
        return validated

    def reload(self, *_: object) -> ReloadAnswer:
        """Stand for reload.load.load. A HUP on what was broken before the request began breaks the promise."""
        if not self.running:
            return ReloadAnswer(NOT_RUNNING)
        self._world.effect("reload")
        if self.broken and self.broken_at_start:  # an exception would be answered as a fault of the program
            self._world.violation = "HUP on a configuration that did not pass"
        self.load()
        self._world.effect("reload")
        if not self.running:
            raise ReloadError(DIED, "EXIM IS DOWN: its daemon ended on a reload.")
        return ReloadAnswer(LOADED)


class World:
    """eximcertd with its state, root's files and Exim, below one directory. Call ``close`` at the end."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="world-", dir=FASTEST if Path(FASTEST).is_dir() else None))
        self.state = self.home / "state"
        for part in (self.state, self.state / "ledger", self.home / "etc"):
            part.mkdir(mode=0o755)
        self.file = self.home / "etc" / "relay_from_certs"
        self.config = parse(
            f'[allowlist]\nfile = "{self.file}"\n[state]\ndirectory = "{self.state}"\n[publish]\nmin_interval = "0s"\n'
        )
        self.records = Records()
        self.allowlist = AllowlistSettings(form="list")
        self.exim = Twin(self)
        self.allowed = AllowedDirectory(self.state / "allowed")
        self.ledger: Ledger | None = None
        self.publication: Publisher | None = None
        self.allow_shrink = False
        self.violation = ""
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
        """Kill root's part, the reload part, the daemon, or all, before the change after so many of theirs."""
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
        if whose != "daemon" and self._break_after is not None:
            self._break_after -= 1
            if self._break_after < 0:
                self._break_after, self.exim.broken = None, True
        if self._kill is not None and self._kill[0] in {whose, "all"}:
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
            decider = Decider(self.ledger, self.records)
            self.publication = Publisher(
                self.ledger, self.allowed, self, decider=decider, allowlist=self.allowlist, recorder=self.records
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

    async def publish(self, request: Request) -> Answer:
        """Be root's part, in its own process: what kills it alone leaves eximcertd without an answer."""
        answer = self._process(
            "publish", lambda: transaction.answer(self.config, request, allow_shrink=self.allow_shrink)
        )
        return answer or Answer(UNKNOWN, "ask", "it was killed")

    async def reload(self, request: Request) -> ReloadAnswer:
        """Be the reload part, in its own process."""
        self.exim.broken_at_start = self.exim.broken
        with patch.object(program, "receive", lambda *_: request):
            answer = self._process("reload", lambda: program._answer(Path("eximcertd.toml")))
        assert not self.violation, self.violation
        return decode_reload(encode_answer(answer)) if answer else ReloadAnswer(UNKNOWN, "ask", "it was killed")

    def _process(self, name: str, work: Callable[[], _Given]) -> _Given | None:
        """Do the work of a program; None if it alone is killed."""
        alone = self._kill is not None and self._kill[0] == name
        try:
            given: _Given | None = work()
        except Killed:
            if not alone:
                raise
            self._dead = False
            given = None
        self.effect("daemon")
        return given

    # What stands in for the world

    def _stand_in(self) -> None:
        for module, whose in ((secure_files, "publish"), (allowed_directory, "daemon")):
            self._patches.enter_context(patch.object(module, "os", _Counting(self, whose)))
        stands_for: dict[str, object] = {
            "candidate": self.exim.candidate,
            "live": self.exim.live,
            "load": self.exim.reload,
            "_configuration": lambda *_: self.config,
            **dict.fromkeys(("lookups", "_become", "check_command_lines"), lambda *_: None),
            "daemons": lambda *_: (),
        }
        for name, twin in stands_for.items():
            self._patches.enter_context(patch.object(program, name, twin))
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
