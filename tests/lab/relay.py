"""A state directory and a macro file beside a real Exim, and what eximcertd does with them, in this process.

For tests that kill a process between any two of its system calls: starting a whole daemon hundreds of times
would take too long. Ledger, publication, publisher and Exim are the real ones.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from eximcertd.config import load
from eximcertd.decisions.decide import Decider
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.ask import Programs
from eximcertd.publication.publisher import Publisher
from lab.daemon import Eximcertd
from lab.deciding import decide
from lab.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.publication.ask import ProgramReply
    from eximcertd.status import Verb
    from lab.exim import EximServer

HAND = Fingerprint("AB" * 32)
"""What a hand puts into the macro file."""


class InThisThread(Programs):
    """The two programs, asked without a thread: a process that is traced has only one."""

    async def _exchange(self, name: str, raw: bytes, *, validating: bool = False) -> ProgramReply:
        return self.exchange(name, raw, validating=validating)


class Relay:
    """A relay that is published to from this process. form: as configured; change it at will."""

    def __init__(self, exim: EximServer) -> None:
        self.exim = exim
        # For its configuration file; never started. "auto" leaves both forms to eximcertd: the publisher obeys root.
        self.daemon = Eximcertd(exim, {"allowlist": {"form": "auto"}})
        self.config = load(self.daemon.config)
        (self.daemon.state / "ledger").mkdir()
        self.directory = AllowedDirectory(self.daemon.state / "allowed")
        self.directory.prepare()
        self.form = self.config.allowlist.form

    def run(self, *decisions: tuple[Verb, Fingerprint], edit: Callable[[], None] | None = None) -> bool:
        """Start, decide, publish, stop; tell whether all of it is live. edit: a hand in it, before publishing."""
        ledger = Ledger(self.daemon.state / "ledger")
        allowlist = self.config.allowlist._replace(form=self.form)

        async def work() -> bool:
            publication = Publisher(
                ledger,
                self.directory,
                InThisThread(self.config, 60),
                decider=Decider(ledger, Records()),
                allowlist=allowlist,
                recorder=Records(),
            )
            if not decisions:
                await publication.start()
                await publication.reconcile()
            else:
                await publication.verify()
                for verb, one in decisions:
                    decide(ledger, verb, one)
                if edit is not None:
                    edit()
            await publication.settle()
            live = publication.live
            await publication.stop()
            return live

        try:
            return asyncio.run(work())
        finally:
            ledger.close()

    def wanted(self) -> set[str]:
        ledger = Ledger(self.daemon.state / "ledger")
        try:
            return set(ledger.publications.wanted())
        finally:
            ledger.close()

    def add_by_hand(self) -> None:
        text = self.exim.macro_file.read_text()
        with self.exim.macro_file.open("w") as stream:
            stream.write(text.replace("RELAY_FROM_CERTS =", f"RELAY_FROM_CERTS = {HAND} :", 1))
