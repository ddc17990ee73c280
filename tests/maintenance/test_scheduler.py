"""The scheduler does each thing in its time, and goes on when the disk is full."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from lab.certificates import make
from lab.deciding import decide
from lab.rounds import FAST, NEVER, ONE, OURS, House, run, until

from eximcertd.decisions.rules import OPTIONS
from eximcertd.decisions.sources import by_person
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.identities import Identity
from eximcertd.log.sighting import Sighting
from eximcertd.maintenance.scheduler import Scheduler, Timing
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Callable


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
