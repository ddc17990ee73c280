"""A ledger, a directory, twins of the two programs, and the publication between them, in this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from eximcertd.decisions.decide import Decider
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.publisher import Publisher
from eximcertd.settings import AllowlistSettings as Allowlist
from lab.deciding import decide
from lab.publisher import TwinPrograms
from lab.records import Records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from eximcertd.publish.request import Answer, Request
    from eximcertd.reload.request import ReloadAnswer
    from eximcertd.status import Status, Verb

ONE, TWO, THREE = (Fingerprint(f"{n:064X}") for n in (1, 2, 3))


class PublicationParts:
    """A ledger, a directory, a publisher's twin, and the publication between them; ``restart`` is a new process."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.publisher = TwinPrograms(state / "macro")
        self.records = Records()
        self.allowlist = Allowlist(form="list")
        (state / "ledger").mkdir()
        self.directory = AllowedDirectory(state / "allowed")
        self.directory.prepare()
        self.ledger = Ledger(state / "ledger")
        self.ask: Callable[[Request], Awaitable[Answer]] = self.publisher.publish
        self.ask_reload: Callable[[Request], Awaitable[ReloadAnswer]] = self.publisher.reload

    def decide(self, verb: Verb, *fingerprints: Fingerprint) -> None:
        decide(self.ledger, verb, *fingerprints)

    def lose_ledger(self) -> None:
        self.ledger.close()
        for file in (self.state / "ledger").iterdir():
            file.unlink()
        self.ledger = Ledger(self.state / "ledger")

    def hold(self) -> asyncio.Event:
        """Let every request to root's part wait for this event."""
        gate = asyncio.Event()

        async def held(request: Request) -> Answer:
            await gate.wait()
            return await self.publisher.publish(request)

        self.ask = held
        return gate

    async def publish(self, request: Request) -> Answer:
        return await self.ask(request)

    async def reload(self, request: Request) -> ReloadAnswer:
        return await self.ask_reload(request)

    def publication(self) -> Publisher:
        return Publisher(
            self.ledger, self.directory, self,
            decider=Decider(self.ledger, self.records), allowlist=self.allowlist, recorder=self.records,
        )  # fmt: skip

    def start(self) -> bool:
        """Start, settle, stop; tell whether what was decided is live."""

        async def run() -> bool:
            publication = self.publication()
            await publication.start()
            await publication.reconcile()
            await publication.settle()
            live = publication.live
            await publication.stop()
            return live

        return asyncio.run(run())

    @staticmethod
    def is_live(publication: Publisher) -> bool:
        """Ask anew; mypy takes an attribute for constant."""
        return publication.live

    def standing(self, fingerprint: Fingerprint) -> Status:
        return self.ledger.entries.get(fingerprint).status
