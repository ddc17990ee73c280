"""A model of authorities: whatever is decided, shown, renewed, revoked and killed, nobody relays who should not.

Two authorities of one name, their clients, and clients of nobody; decisions of persons, CRLs, the clock, and kills
between the ledger and the publication. The ledger, the enrolment, the publisher and the directory are the real ones.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from lab.authorities import NOW, SERVER, Signer
from lab.certificates import DAY
from lab.deciding import decide
from lab.publisher import TwinPrograms
from lab.records import Records

from eximcertd.authorities.authority import Authority
from eximcertd.certificates.parsing import parse
from eximcertd.decisions.decide import Decider
from eximcertd.errors import RefusedError
from eximcertd.ledger import Ledger
from eximcertd.ledger.decisions import Decision
from eximcertd.log.sighting import Sighting
from eximcertd.maintenance.enrolling import Enrolling
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.ending import end_withdrawn
from eximcertd.publication.publisher import Publisher
from eximcertd.settings import AllowlistSettings
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.publication.state import PublicationState

X, TWIN = Signer("Site CA"), Signer("Site CA")
SIGNERS: Final = (X, TWIN)
KEYS: Final = tuple(Signer(f"key {number}").private for number in range(3))
SOON: Final = NOW + 2 * DAY


def _leaves() -> list[tuple[Signer, Signer | None]]:
    """Return certificates, each with the signer that may vouch for it, or None."""
    made: list[tuple[Signer, Signer | None]] = []
    for signer in SIGNERS:
        for number in range(3):  # two certificates for each of three clients: one has been renewed
            made += [(signer.issue(f"c{number}.example", key=KEYS[number]), signer) for _ in range(2)]
        made.append((signer.issue("short.example", not_after=SOON), signer))
        made.append((signer.issue("outside.other"), signer))
        made.append((signer.issue("s.example", purposes=[SERVER]), None))
        made.append((signer.issue("old.example", not_before=NOW - 9 * DAY, not_after=NOW - DAY), None))
    made.append((Signer("Another CA").issue("c0.example"), None))
    made.append((Signer("Site CA", ca=False), None))
    return made


LEAVES: Final = _leaves()
leaves = st.sampled_from(range(len(LEAVES)))
signers = st.sampled_from(range(len(SIGNERS)))


class Killable(Publisher):
    """A publisher that a kill stops before it begins."""

    killed = False

    async def settle(self, decided: Iterable[Fingerprint] = ()) -> PublicationState:
        return self.state if self.killed else await super().settle(decided)


class AuthorityModel(RuleBasedStateMachine):
    """approved: signer -> patterns. by_person, enrolled, denied: fingerprints, as they should be."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="authority-model-"))
        (self.directory / "ledger").mkdir()
        self.twins = TwinPrograms(self.directory / "macro")
        self.allowed = AllowedDirectory(self.directory / "allowed")
        self.allowed.prepare()
        self.approved: dict[int, tuple[str, ...]] = {}
        self.by_person: set[Fingerprint] = set()
        self.enrolled: dict[Fingerprint, int] = {}
        self.denied: set[Fingerprint] = set()
        self.bound: set[Fingerprint] = set()
        self.on_crl: set[int] = set()
        self.crl_works = True
        self.now = NOW
        self._write_crl()
        self._open()

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.directory)

    def _open(self) -> None:
        self.ledger = Ledger(self.directory / "ledger")
        decider = Decider(self.ledger, Records())
        self.publication = Killable(
            self.ledger, self.allowed, self.twins, decider=decider,
            allowlist=AllowlistSettings(form="directory"), recorder=Records(),
        )  # fmt: skip
        self.enrolling = Enrolling(self.ledger, decider, Records(), self.allowed, self.publication)
        asyncio.run(self._start())

    async def _start(self) -> None:
        await self.publication.start()
        await self.enrolling.end()
        await self.publication.reconcile()

    def _settle(self) -> None:
        if self.publication.killed:  # what was not published is published at the next start
            self.ledger.close()
            self._open()
        asyncio.run(self.publication.settle())

    def _write_crl(self) -> None:
        revoked = [LEAVES[number][0] for number in self.on_crl]
        data = X.crl(revoked) if self.crl_works else b"broken"
        (self.directory / "crl").write_bytes(data)

    def _vouched(self, number: int) -> bool:
        """Tell whether the model says that an authority vouches for a certificate now."""
        leaf, signer = LEAVES[number]
        index = next((i for i, one in enumerate(SIGNERS) if one is signer), None)
        if index is None or index not in self.approved:
            return False
        if self.approved[index] and not leaf.name.endswith(".example"):
            return False
        if index == 0 and (not self.crl_works or number in self.on_crl):
            return False
        bound = [LEAVES[i][0] for i in range(len(LEAVES)) if LEAVES[i][0].fingerprint in self.denied_under]
        return not any(one.name == leaf.name or one.private is leaf.private for one in bound)

    @property
    def denied_under(self) -> set[Fingerprint]:
        """The denied certificates that bind name and key."""
        return {one for one in self.denied if one in self.bound}

    @rule(index=signers, limited=st.booleans())
    def approve_an_authority(self, index: int, limited: bool) -> None:
        patterns = ("*.example",) if limited else ()
        authority = Authority.of(SIGNERS[index].der, patterns, str(self.directory / "crl") if index == 0 else "")
        decision = Decision(authority.fingerprint, Verb.AUTHORIZE, "alice", _ms(), "", str(uuid.uuid4()))
        self.enrolling.authorities.add(decision, authority)
        self.enrolling.reload()
        self.approved[index] = patterns

    @rule(
        index=signers,
        portion=st.sampled_from([1, 2, 2000]),
        killed=st.sampled_from(["", "before the ledger", "before the publication"]),
    )
    def withdraw_an_authority(self, index: int, portion: int, killed: str) -> None:
        if index not in self.approved:
            return
        name = SIGNERS[index].fingerprint
        self.enrolling.authorities.withdraw(Decision(name, Verb.WITHDRAW, "a", _ms(), "", str(uuid.uuid4())), "x")
        self.enrolling.reload()
        del self.approved[index]
        self.enrolled = {leaf: signer for leaf, signer in self.enrolled.items() if signer != index}
        if killed == "before the ledger":
            self.publication.killed = True
        else:
            self.publication.killed = killed == "before the publication"
            asyncio.run(end_withdrawn(self.publication, self.ledger, self.allowed, portion))
        self._settle()

    @rule(shown=st.lists(leaves, min_size=1, max_size=4, unique=True), killed=st.booleans())
    def clients_try(self, shown: list[int], killed: bool) -> None:
        seen = [LEAVES[number][0] for number in shown]
        self.ledger.sightings.record(
            "f", "1", [Sighting(one.fingerprint, 1, _ms(), _ms()) for one in seen], lambda _: True
        )
        self.publication.killed = killed
        asyncio.run(self.enrolling.enrol([(one.fingerprint, one.der, "AB" * 32) for one in seen]))
        for number in shown:
            leaf, signer = LEAVES[number]
            status_allows = leaf.fingerprint not in self.denied | self.by_person
            if status_allows and self._vouched(number):
                self.enrolled[leaf.fingerprint] = next(i for i, one in enumerate(SIGNERS) if one is signer)
        self._settle()

    @rule(number=leaves, verb=st.sampled_from([Verb.APPROVE, Verb.REJECT, Verb.REVOKE]))
    def a_person_decides(self, number: int, verb: Verb) -> None:
        leaf = LEAVES[number][0]
        denials = []
        if verb is not Verb.APPROVE:
            denials = self.enrolling.bind(leaf.fingerprint, parse(leaf.der), leaf.der, "")
        try:
            decide(self.ledger, verb, leaf.fingerprint)
        except RefusedError:
            return
        self.enrolled.pop(leaf.fingerprint, None)
        if verb is Verb.APPROVE:
            self.by_person.add(leaf.fingerprint)
            self.denied.discard(leaf.fingerprint)
        else:
            self.by_person.discard(leaf.fingerprint)
            self.denied.add(leaf.fingerprint)
            if denials:
                self.bound.add(leaf.fingerprint)
        self._settle()

    @rule(number=leaves)
    def a_certificate_comes_onto_the_crl(self, number: int) -> None:
        if LEAVES[number][1] is X:
            self.on_crl.add(number)
            self._write_crl()

    @rule(works=st.booleans())
    def the_crl_breaks_or_is_restored(self, works: bool) -> None:
        self.crl_works = works
        self._write_crl()

    @rule(days=st.integers(0, 3))
    def a_round_of_maintenance(self, days: int) -> None:
        self.now = max(self.now, NOW + days * DAY)
        asyncio.run(self.enrolling.round(datetime.now(UTC), timedelta(days=90)))
        self.ledger.lapses.derive(int(self.now.timestamp() * 1000))
        if self.crl_works and 0 in self.approved:
            for number in self.on_crl:
                name = LEAVES[number][0].fingerprint
                if self.enrolled.pop(name, None) is not None:
                    self.denied.add(name)
        self._settle()

    @rule()
    def it_is_restarted(self) -> None:
        self.ledger.close()
        self._open()

    @invariant()
    def exactly_those_relay_who_may(self) -> None:
        there = self.allowed.contents().fingerprints
        short = {leaf.fingerprint for leaf, _ in LEAVES if leaf.name == "short.example"}
        wanted = {*self.by_person, *self.enrolled}
        assert there - wanted == set(), "somebody relays who may not"
        assert wanted - there - short == set(), "somebody may relay and does not"

    @invariant()
    def no_enrolment_outlives_its_authority(self) -> None:
        assert set(self.ledger.authorities.counts()) <= {SIGNERS[index].fingerprint for index in self.approved}
        for name in self.enrolled:
            assert self.ledger.entries.get(name).status is Status.APPROVED


def _ms() -> int:
    return time.time_ns() // 1_000_000


AuthorityModel.TestCase.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAuthorities = AuthorityModel.TestCase
