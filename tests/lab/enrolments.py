"""A site with an authority, in this process: ledger, decisions and enrolment, and the directory that Exim reads."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from eximcertd.authorities.authority import Authority
from eximcertd.authorities.printed import hashes_of
from eximcertd.decisions.decide import Decider
from eximcertd.ledger import Ledger
from eximcertd.ledger.decisions import Decision
from eximcertd.log.sighting import Sighting
from eximcertd.maintenance.enrolling import Enrolling
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.publisher import Publisher
from eximcertd.settings import AllowlistSettings
from eximcertd.status import Verb
from lab.authorities import Signer
from lab.publisher import TwinPrograms
from lab.records import Records

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.status import Status

PRINTED: Final = "AB" * 32
"""The hash of the issuer's name as Exim is said to have printed it."""
LATER: Final = datetime.now(UTC) + timedelta(minutes=1)


class Site:
    """signer: its authority, which is not approved yet."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "ledger").mkdir()
        self.records = Records()
        self.names = AllowedDirectory(directory / "authorities")
        self.allowed = AllowedDirectory(directory / "allowed")
        self.allowed.prepare()
        self.twins = TwinPrograms(directory / "macro")
        self.signer = Signer("Site CA")
        self.open()

    def open(self) -> None:
        self.ledger = Ledger(self.directory / "ledger")
        self.decider = Decider(self.ledger, self.records)
        self.publication = Publisher(
            self.ledger, self.allowed, self.twins,
            decider=self.decider, allowlist=AllowlistSettings(form="directory"), recorder=self.records,
        )  # fmt: skip
        self.enrolling = Enrolling(self.ledger, self.decider, self.records, self.allowed, self.publication)
        self.authorities = self.enrolling.authorities

    def authorize(self, signer: Signer | None = None, *patterns: str, crl: str = "", request: str = "1") -> Authority:
        signer = signer or self.signer
        authority = Authority.of(signer.der, patterns, crl)
        decision = Decision(authority.fingerprint, Verb.AUTHORIZE, "alice", now_ms(), "our own", request)
        same = [one.fingerprint for one in self.enrolling.approved if one.same(authority)]
        self.authorities.add(decision, authority, hashes_of(authority.subject), same)
        self.enrolling.reload()
        self.enrolling.write_names()
        return authority

    def withdraw(self, signer: Signer | None = None, request: str = "w") -> int:
        self.decide_to_withdraw(signer, request)
        return asyncio.run(self.enrolling.end())

    def decide_to_withdraw(self, signer: Signer | None = None, request: str = "w") -> None:
        name = (signer or self.signer).fingerprint
        self.authorities.withdraw(Decision(name, Verb.WITHDRAW, "alice", now_ms(), "closed", request), "Site CA")
        self.enrolling.reload()
        self.enrolling.write_names()

    def try_(self, *leaves: Signer, files: bool = True) -> list[Fingerprint]:
        """Have clients refused with these certificates; return which were enrolled. files: whether they have some."""
        seen = [Sighting(leaf.fingerprint, 1, now_ms(), now_ms()) for leaf in leaves]
        self.ledger.sightings.record("file", "1", seen, lambda _: files)
        shown = [(leaf.fingerprint, leaf.der, PRINTED) for leaf in leaves]
        return asyncio.run(self.enrolling.enrol(shown))

    def round(self, now: datetime = LATER) -> list[Fingerprint]:
        return asyncio.run(self.enrolling.round(now, timedelta(days=90)))

    def status(self, leaf: Signer) -> Status:
        return self.ledger.entries.get(leaf.fingerprint).status


def now_ms() -> int:
    """Return the time in ms since the epoch."""
    return time.time_ns() // 1_000_000
