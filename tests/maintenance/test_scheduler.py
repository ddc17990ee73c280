"""The scheduler does each thing in its time, and goes on when the disk is full."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.deciding import decide
from lab.publisher import TwinPrograms
from lab.records import Records

from eximcertd.certificates.index import Index
from eximcertd.certificates.issuers import Issuers
from eximcertd.certificates.lookup import CertificateLookup
from eximcertd.decisions.decide import Decider
from eximcertd.decisions.rules import OPTIONS
from eximcertd.decisions.sources import by_person
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.intake import Intake
from eximcertd.ledger import Ledger
from eximcertd.ledger.identities import Identity
from eximcertd.log.line import Grammar
from eximcertd.log.sighting import Sighting
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
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from eximcertd.publish.request import Request
    from eximcertd.reload.request import ReloadAnswer

ONE, TWO, OURS = (Fingerprint(f"{n:08X}".ljust(64, "0")) for n in (1, 2, 3))
NEVER = 1e9


class House:
    """eximcertd without a control socket: everything that time concerns, over twins of the two programs."""

    def __init__(self, directory: Path) -> None:
        for name in ("ledger", "certificates"):
            (directory / name).mkdir()
        self.log = directory / "mainlog"
        self.log.touch()
        self.ledger = Ledger(directory / "ledger")
        self.records = Records()
        self.programs = TwinPrograms(directory / "macro")
        self.allowed = AllowedDirectory(directory / "allowed")
        self.allowed.prepare()
        self.decider = Decider(self.ledger, self.records)
        self.index = Index(directory / "certificates")
        self.config = Config(allowlist=AllowlistSettings(form="list"))
        self.source = Tailer(self.log, Grammar(DEFAULT_MESSAGE))
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
            Enrolling(self.ledger, self.decider, self.records, self.allowed, publication.settle),
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

    def looks(self) -> int:
        """Return how often the macro file was read."""
        return self.programs.asked.count("read")


class Programs:
    """The twins as the publisher asks them."""

    def __init__(self, twins: TwinPrograms) -> None:
        self.publish = twins.publish
        self.reload = twins.reload


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.source.close()
    house.ledger.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what is bound to happen."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


def run(
    house: House, timing: Timing, condition: Callable[[], object], begin: Callable[[], object] = lambda: None
) -> None:
    """Go round until something is so. begin: what is done after the first publication."""

    async def work() -> None:
        async with house.running(timing):
            begin()
            await until(condition)

    asyncio.run(work())


FAST = Timing(soon=0.01, tick=0.01, verify=NEVER, reconcile=NEVER)


def test_the_macro_file_is_looked_at_in_its_time_and_a_manual_edit_is_adopted(house: House) -> None:
    timing = Timing(soon=0.01, tick=0.01, verify=0.05, reconcile=NEVER)
    run(
        house,
        timing,
        lambda: house.ledger.entries.get(OURS).status is Status.APPROVED,
        lambda: house.programs.edit(OURS),
    )
    assert Event.ADOPTED_BY_HAND in house.records.events()


def test_without_its_time_the_macro_file_is_left_alone(house: House) -> None:
    rounds = 0

    def counted() -> bool:
        nonlocal rounds
        rounds += 1
        return rounds > 40

    run(house, FAST, counted, lambda: house.programs.edit(OURS))
    assert house.ledger.entries.get(OURS).status is Status.UNSEEN


def test_after_the_first_two_rounds_the_next_one_comes_in_its_time(house: House) -> None:
    looks: list[float] = []

    def wall() -> float:
        looks.append(time.time())
        return looks[-1]

    house.wall = wall
    counts: list[int] = []

    def counted() -> bool:
        counts.append(len(looks))
        return len(counts) > 60

    run(house, Timing(soon=0.02, tick=NEVER, verify=NEVER, reconcile=NEVER), counted)
    assert counts[1] < counts[30], "the second round comes soon"
    assert counts[30] == counts[60], "the third one does not"


def test_a_decision_that_nobody_published_is_published_in_a_round(house: House) -> None:
    run(house, FAST, lambda: house.programs.loaded == {ONE}, lambda: decide(house.ledger, Verb.APPROVE, ONE))


def test_a_log_that_cannot_be_read_is_told_in_a_round(house: House) -> None:
    def spoil() -> None:
        house.log.unlink()
        house.log.symlink_to(house.log)
        list(house.source.look())

    run(house, FAST, lambda: Event.LOG_PROBLEM in house.records.events(), spoil)


SLOW = Timing(soon=NEVER, tick=NEVER, verify=NEVER, reconcile=NEVER)


def after_the_first_round(
    house: House, change: Callable[[Scheduler], object], condition: Callable[[], object], timing: Timing = SLOW
) -> None:
    """Change something while the scheduler rests for ever, and wait for what comes of it."""

    async def work() -> None:
        async with house.running(timing) as scheduler:
            await until(lambda: house.ledger.running_time.last_clock() is not None)
            for _ in range(20):
                await asyncio.sleep(0.001)
            change(scheduler)
            await until(condition)

    asyncio.run(work())


def test_a_certificate_that_appears_is_matched_at_once_and_kept_if_it_is_approved(house: House) -> None:
    waiting, approved = (make(house.index.directory, f"{name}.example") for name in ("waiting", "approved"))
    house.ledger.sightings.record("file", "1", [Sighting(waiting.fingerprint, 1, 1, 1)], lambda _: False)
    decide(house.ledger, Verb.APPROVE, approved.fingerprint)

    def appear(scheduler: Scheduler) -> None:
        assert house.ledger.identities.among([approved.fingerprint]) == {}
        house.index.refresh()
        scheduler.certificates_changed({waiting.fingerprint, approved.fingerprint}, set())
        assert Event.ATTEMPT_SEEN in house.records.events()

    after_the_first_round(house, appear, lambda: house.ledger.identities.among([approved.fingerprint]))


def test_what_is_approved_is_known_by_its_certificate_in_a_round_that_begins_at_once(house: House) -> None:
    laptop = make(house.index.directory, "laptop.example")
    house.index.refresh()
    request = by_person(Verb.APPROVE, [laptop.fingerprint], "alice", 1, request="1", insist=OPTIONS)
    after_the_first_round(
        house,
        lambda _: house.decider.decide(request),
        lambda: house.ledger.identities.among([laptop.fingerprint]),
    )


def test_a_certificate_that_vanishes_is_told_in_a_round_that_begins_at_once(house: House) -> None:
    decide(house.ledger, Verb.APPROVE, ONE)
    house.ledger.identities.keep([Identity(ONE, "key", "CN=a", "CN=a", None)])
    after_the_first_round(
        house,
        lambda scheduler: scheduler.certificates_changed(set(), {ONE}),
        lambda: Event.CERTIFICATE_GONE in house.records.events(),
    )
    assert house.records.events().count(Event.CERTIFICATE_GONE) == 1


def test_another_configuration_takes_effect_at_once(house: House) -> None:
    house.ledger.sightings.record("file", "1", [Sighting(ONE, 1, 1, 1)], lambda _: True)
    house.ledger.running_time.advance(2 * 86_400_000, 1)
    shorter = house.config._replace(queue=house.config.queue._replace(forget_pending_after=timedelta(days=1)))
    after_the_first_round(
        house,
        lambda scheduler: scheduler.configure(shorter),
        lambda: house.ledger.entries.get(ONE).status is Status.UNSEEN,
    )


def test_the_directory_is_reconciled_in_its_time(house: House) -> None:
    decide(house.ledger, Verb.APPROVE, ONE)
    timing = Timing(soon=0.01, tick=0.01, verify=NEVER, reconcile=0.05)
    file = house.allowed.path / ONE
    run(house, timing, file.exists, file.unlink)
    assert file.exists()


def test_a_pending_entry_is_forgotten_in_a_round(house: House) -> None:
    house.ledger.sightings.record("file", "1", [Sighting(ONE, 1, 1, 1)], lambda _: True)
    house.ledger.running_time.advance(91 * 86_400_000, 1)
    run(house, FAST, lambda: house.ledger.entries.get(ONE).status is Status.UNSEEN)


def test_what_was_dropped_from_the_queue_is_told(house: House) -> None:
    house.ledger.sightings.unmatched_limit = 1

    def flood() -> None:
        seen = [Sighting(Fingerprint(f"{n:064X}"), 1, n, n) for n in range(5)]
        house.ledger.sightings.record("file", "1", seen, lambda _: False)

    run(house, FAST, lambda: Event.UNMATCHED_DROPPED in house.records.events(), flood)
    [fields] = [fields for event, _, fields in house.records.kept if event is Event.UNMATCHED_DROPPED]
    assert fields["COUNT"] == "4"


SLOW = Timing(soon=60, tick=60, verify=NEVER, reconcile=NEVER)


def valid(fingerprint: Fingerprint, begins: float, ends: float) -> Identity:
    """Return what is kept of a certificate with this validity (seconds)."""
    return Identity(fingerprint, fingerprint, fingerprint, fingerprint, int(ends * 1000), int(begins * 1000))


def test_a_certificate_is_on_the_published_list_from_its_beginning_to_its_end(house: House) -> None:
    now = time.time()
    decide(house.ledger, Verb.APPROVE, ONE, TWO)
    house.ledger.identities.keep([valid(ONE, 0, now + 1.5), valid(TWO, now + 1.2, now + 1e6)])
    seen: list[tuple[AbstractSet[str] | None, float]] = []

    def looked() -> bool:
        if not seen or seen[-1][0] != house.programs.loaded:
            seen.append((house.programs.loaded, time.time()))
        return [names for names, _ in seen][-3:] == [{ONE}, {ONE, TWO}, {TWO}]

    run(house, SLOW, looked)
    assert seen[-2][1] >= now + 1.2
    assert seen[-1][1] >= now + 1.5
    assert house.ledger.entries.get(ONE).status is Status.APPROVED


def test_a_certificate_that_ends_while_the_end_of_another_is_published_is_off_the_list_too(house: House) -> None:
    now = time.time()
    decide(house.ledger, Verb.APPROVE, ONE, TWO, OURS)
    house.ledger.identities.keep([valid(ONE, 0, now + 1), valid(TWO, 0, now + 1.2)])

    class Slow(Programs):
        async def reload(self, request: Request) -> ReloadAnswer:
            await asyncio.sleep(0.5)
            return await house.programs.reload(request)

    house.programs_asked = lambda: Slow(house.programs)  # type: ignore[method-assign]
    run(house, SLOW, lambda: house.programs.loaded == {OURS})


@pytest.mark.parametrize("by", [-1e6, 1e6])
def test_a_clock_that_is_set_changes_the_list_and_puts_it_right_again(house: House, by: float) -> None:
    now = time.time()
    decide(house.ledger, Verb.APPROVE, ONE, TWO)
    house.ledger.identities.keep([valid(ONE, now - 1e5, now + 1e5)])
    off: list[bool] = []

    def begin() -> None:
        house.wall = lambda: time.time() + by

    def looked() -> bool:
        if house.programs.loaded == {TWO} and not off:
            off.append(True)
            house.wall = time.time
        return bool(off) and house.programs.loaded == {ONE, TWO}

    run(house, SLOW, looked, begin)


def test_a_scheduled_revocation_is_made_at_its_time(house: House) -> None:
    decide(house.ledger, Verb.APPROVE, ONE)
    house.ledger.lapses.schedule([(ONE, int((time.time() + 1) * 1000))])
    run(house, SLOW, lambda: house.ledger.entries.get(ONE).status is Status.REVOKED)
    assert Event.REVOKED in house.records.events()


def test_a_full_disk_is_told_once_and_maintenance_goes_on_when_there_is_room(house: House) -> None:
    many = [Fingerprint(f"{n:064X}") for n in range(3000)]
    decide(house.ledger, Verb.APPROVE, *many)
    house.ledger.identities.keep([Identity(one, one, one, one, 1) for one in many])  # all of them are to be told of

    def fill() -> None:
        with house.ledger._store.reading() as db:
            db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")

    def make_room() -> bool:
        if Event.LEDGER_PROBLEM in house.records.events():
            with house.ledger._store.reading() as db:
                db.execute("PRAGMA max_page_count = 1000000")
        return Event.LEDGER_BACK in house.records.events()

    run(house, FAST, make_room, fill)
    assert house.records.events().count(Event.LEDGER_PROBLEM) == 1
    assert house.records.events().count(Event.CERTIFICATE_EXPIRED) == 3000


@pytest.mark.parametrize("years", [0, 11])
def test_after_a_leap_of_the_clock_no_expiry_is_reported(house: House, years: int) -> None:
    decide(house.ledger, Verb.APPROVE, ONE)
    house.ledger.identities.keep([Identity(ONE, "key", "CN=a", "CN=a", 1)])
    year = 365 * 86_400
    house.ledger.running_time.advance(0, int((time.time() - years * year) * 1000))
    rounds = 0

    def done() -> bool:
        nonlocal rounds
        rounds += 1
        return Event.CERTIFICATE_EXPIRED in house.records.events() or rounds > 40

    run(house, FAST, done)
    assert (Event.CLOCK_CHANGED in house.records.events()) is bool(years)
    assert (Event.CERTIFICATE_EXPIRED in house.records.events()) is not bool(years)
