"""A jump of the clock is reported, undone when the clock is correct again, and decides nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.deciding import decide
from lab.records import Records

from eximcertd.certificates.index import Index
from eximcertd.certificates.lookup import CertificateLookup
from eximcertd.certificates.parsing import parse
from eximcertd.decisions.decide import Decider
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.ledger.identities import Identity
from eximcertd.log.sighting import Sighting
from eximcertd.maintenance.clock import Clock
from eximcertd.maintenance.expiry import Expiry
from eximcertd.maintenance.forgetting import Forgetting
from eximcertd.maintenance.renewals import Renewals
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE, TWO = (Fingerprint(f"{n:08X}".ljust(64, "0")) for n in (1, 2))
DAY = 86400.0
YEARS = 11 * 365 * DAY


class Machine:
    """A machine whose clock can be set. wall, passed: seconds."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.wall, self.passed = 1_800_000_000.0, 1000.0
        self.boot()

    def boot(self) -> None:
        """Start eximcertd."""
        self.clock = Clock(self.ledger.running_time, lambda: self.wall, lambda: self.passed)

    def wait(self, seconds: float) -> str:
        """Let time pass, and look at the clock."""
        self.wall, self.passed = self.wall + seconds, self.passed + seconds
        return self.clock.look()

    def set(self, by: float) -> str:
        """Set the clock, and look at it."""
        self.wall += by
        return self.clock.look()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "ledger").mkdir()
    ledger = Ledger(tmp_path / "ledger")
    yield ledger
    ledger.close()


@pytest.fixture
def machine(ledger: Ledger) -> Machine:
    return Machine(ledger)


def test_a_clock_that_goes_as_time_passes_has_not_leapt(machine: Machine) -> None:
    assert [machine.wait(step) for step in (0, 60, 3600, 90 * DAY)] == [""] * 4
    assert machine.set(200) == "", "what NTP corrects is no leap"
    assert machine.clock.trusted


@pytest.mark.parametrize("leap", [YEARS, -YEARS, 301, -301])
def test_a_leap_is_told_and_distrusted_until_it_is_undone(machine: Machine, leap: float) -> None:
    machine.wait(0)
    assert f"{leap:+.0f} s" in machine.set(leap)
    assert not machine.clock.trusted
    assert machine.wait(60) == "", "it is told once"
    assert not machine.clock.trusted
    assert machine.set(-leap).endswith("It is correct again.")
    assert machine.clock.trusted


def test_a_clock_that_stays_where_it_leapt_to_is_trusted_after_a_day(machine: Machine) -> None:
    machine.wait(0)
    machine.set(YEARS)
    machine.wait(DAY - 1)
    assert not machine.clock.trusted
    machine.wait(1)
    assert machine.clock.trusted


def test_a_restart_makes_no_clock_right(machine: Machine) -> None:
    machine.wait(0)
    machine.set(YEARS)
    machine.boot()
    assert "jumped" in machine.wait(60)
    assert not machine.clock.trusted
    machine.set(-YEARS)
    assert machine.clock.trusted


def test_a_machine_that_was_off_for_a_week_has_a_clock_to_be_trusted(machine: Machine) -> None:
    machine.wait(0)
    machine.wall += 7 * DAY
    machine.boot()
    assert machine.wait(0) == ""
    machine.wall += 30 * DAY - 1
    machine.boot()
    assert machine.wait(0) == ""
    machine.wall += 30 * DAY
    machine.boot()
    assert "jumped" in machine.wait(0)


def test_running_time_grows_by_what_passes_and_by_no_leap(machine: Machine) -> None:
    machine.wait(0)
    machine.set(YEARS)
    machine.wait(700)
    assert machine.clock.running() == 700_000
    machine.boot()
    machine.wait(700)
    assert machine.clock.running() == 1_400_000


def see(ledger: Ledger, fingerprint: Fingerprint, at: int) -> None:
    ledger.sightings.record("file", "1", [Sighting(fingerprint, 1, at, at)], lambda _: True)


def test_what_is_pending_is_forgotten_by_running_time_and_by_no_clock(ledger: Ledger, machine: Machine) -> None:
    forgetting = Forgetting(ledger, Records())
    machine.wait(0)
    see(ledger, ONE, 1)  # an old log, scanned now
    machine.set(YEARS)
    assert forgetting.forget(timedelta(days=90)) == 0
    machine.wait(50 * DAY)
    see(ledger, TWO, 1)
    machine.wait(41 * DAY)
    assert forgetting.forget(timedelta(days=90)) == 1
    assert [ledger.entries.get(one).status for one in (ONE, TWO)] == [Status.UNSEEN, Status.PENDING]
    see(ledger, TWO, 1)
    machine.wait(60 * DAY)
    assert forgetting.forget(timedelta(days=90)) == 0, "each attempt begins it anew"


def test_an_entry_is_forgotten_after_its_time_and_not_a_second_before(ledger: Ledger, machine: Machine) -> None:
    forgetting = Forgetting(ledger, Records())
    machine.wait(0)
    machine.wait(DAY)
    see(ledger, ONE, 1)
    machine.wait(90 * DAY)
    assert forgetting.forget(timedelta(days=90)) == 0
    assert forgetting.forget(timedelta(days=90, seconds=-1)) == 1


def test_what_was_decided_is_never_forgotten(ledger: Ledger, machine: Machine) -> None:
    see(ledger, ONE, 1)
    decide(ledger, Verb.REJECT, ONE)
    machine.wait(1000 * DAY)
    assert Forgetting(ledger, Records()).forget(timedelta(days=1)) == 0


class Expiring:
    """An approved certificate and what follows from its end."""

    def __init__(self, ledger: Ledger, directory: Path) -> None:
        self.ledger, self.records = ledger, Records()
        certificate = parse(make(directory, "laptop.example").der)
        assert certificate.not_before is not None
        assert certificate.not_after is not None
        self.name, self.end = certificate.fingerprint, certificate.not_after.timestamp()
        self.begin = certificate.not_before.timestamp()
        decide(ledger, Verb.APPROVE, self.name)
        ledger.identities.keep([Identity.of(certificate)])
        self.expiry = Expiry(ledger, CertificateLookup(Index(directory), ledger.shown.of), self.records)
        self.renewals = Renewals(ledger, Decider(ledger, self.records))

    def wanted(self) -> bool:
        return self.name in self.ledger.publications.wanted()


@pytest.fixture
def expiring(ledger: Ledger, tmp_path: Path) -> Expiring:
    return Expiring(ledger, tmp_path)


def test_a_certificate_is_on_the_list_while_it_is_valid_and_at_no_other_time(expiring: Expiring) -> None:
    for at, said in (
        (expiring.begin - 1, "off the list: not valid before"),
        (expiring.begin, "on the list"),
        (expiring.end - 1, ""),
        (expiring.end, "off the list: expired since"),
        (expiring.end - YEARS, "off the list: not valid before"),
        (expiring.end - 1, "on the list"),
    ):
        changed = expiring.expiry.derive(at)
        assert expiring.wanted() is (expiring.begin <= at < expiring.end), said
        assert expiring.ledger.entries.get(expiring.name).status is Status.APPROVED
        if said == "off the list: not valid before" and at != expiring.begin - 1:
            assert changed == [], "it is off the list already, for another reason"
        elif said:
            assert changed == [expiring.name]
            event, text, _ = expiring.records.kept[-1]
            assert event is Event.CERTIFICATE_LAPSED
            assert said in text
    assert expiring.expiry.derive(expiring.end) == [expiring.name]
    assert expiring.ledger.publications.due() or not expiring.ledger.publications.confirmed()


def test_a_new_approval_of_an_expired_certificate_does_not_put_it_on_the_list(expiring: Expiring) -> None:
    assert expiring.expiry.derive(expiring.end) == [expiring.name]
    decide(expiring.ledger, Verb.REVOKE, expiring.name)
    decide(expiring.ledger, Verb.APPROVE, expiring.name)
    assert expiring.expiry.derive(expiring.end) == [expiring.name]
    assert not expiring.wanted()


def test_the_next_change_is_the_beginning_of_a_certificate_then_its_end(expiring: Expiring) -> None:
    assert expiring.expiry.next_change(expiring.begin - 5) == expiring.begin
    assert expiring.expiry.next_change(expiring.begin) == expiring.end
    assert expiring.expiry.next_change(expiring.end) is None


def test_expired_and_expiring_are_counted_at_the_time_of_asking(expiring: Expiring) -> None:
    soon = timedelta(days=30)
    for now, expired, ends in ((-31 * DAY, 0, 0), (-29 * DAY, 0, 1), (-1, 0, 1), (1, 1, 0)):
        at = expiring.end + now
        assert (len(expiring.expiry.expired(at)), len(expiring.expiry.expiring(soon, at))) == (expired, ends), now


def test_what_has_ended_is_told_once_with_its_name_and_date(expiring: Expiring) -> None:
    for _ in range(2):
        expiring.expiry.tell(expiring.end - DAY, timedelta(days=30))
        expiring.expiry.tell(expiring.end + DAY, timedelta(days=30))
    assert expiring.records.events() == [Event.CERTIFICATE_EXPIRES_SOON, Event.CERTIFICATE_EXPIRED]
    assert all("CN=laptop.example" in fields["SUBJECT"] for _, _, fields in expiring.records.kept)


def test_a_scheduled_revocation_is_off_the_list_by_the_clock_and_a_decision_once_it_is_made(expiring: Expiring) -> None:
    at = expiring.begin + DAY
    expiring.renewals.schedule({expiring.name: int(at * 1000)}, None)
    assert expiring.expiry.next_change(expiring.begin) == at
    assert expiring.expiry.derive(at) == [expiring.name]
    entry = expiring.ledger.entries.get(expiring.name)
    assert (entry.status, entry.lapse(int(at * 1000))) == (Status.APPROVED, "replaced by its successor")
    assert expiring.expiry.derive(at - 1) == [expiring.name], "the clock was put right"
    assert expiring.wanted()
    assert expiring.renewals.revoke_due(at - 1) == []
    assert expiring.renewals.revoke_due(at) == [expiring.name]
    decision = expiring.ledger.entries.get(expiring.name).decision
    assert decision is not None
    assert (decision.verb, decision.by, decision.note) == (Verb.REVOKE, "by policy", "replaced by its successor")
