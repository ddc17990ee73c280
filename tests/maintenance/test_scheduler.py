"""The scheduler does each thing in its time, and goes on when the disk is full."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from lab.certificates import make
from lab.deciding import decide
from lab.rounds import FAST, NEVER, ONE, OURS, ScheduledParts, run, until

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


def test_the_macro_file_is_looked_at_in_its_time_and_a_manual_edit_is_adopted(parts: ScheduledParts) -> None:
    timing = Timing(soon=0.01, tick=0.01, verify=0.05, reconcile=NEVER)
    run(
        parts,
        timing,
        lambda: parts.ledger.entries.get(OURS).status is Status.APPROVED,
        lambda: parts.programs.edit(OURS),
    )
    assert Event.ADOPTED_BY_HAND in parts.records.events()


def test_without_its_time_the_macro_file_is_left_alone(parts: ScheduledParts) -> None:
    rounds = 0

    def counted() -> bool:
        nonlocal rounds
        rounds += 1
        return rounds > 40

    run(parts, FAST, counted, lambda: parts.programs.edit(OURS))
    assert parts.ledger.entries.get(OURS).status is Status.UNSEEN


def test_after_the_first_two_rounds_the_next_one_comes_in_its_time(parts: ScheduledParts) -> None:
    looks: list[float] = []

    def wall() -> float:
        looks.append(time.time())
        return looks[-1]

    parts.wall = wall
    counts: list[int] = []

    def counted() -> bool:
        counts.append(len(looks))
        return len(counts) > 60

    run(parts, Timing(soon=0.02, tick=NEVER, verify=NEVER, reconcile=NEVER), counted)
    assert counts[1] < counts[30], "the second round comes soon"
    assert counts[30] == counts[60], "the third one does not"


def test_a_decision_that_nobody_published_is_published_in_a_round(parts: ScheduledParts) -> None:
    run(parts, FAST, lambda: parts.programs.loaded == {ONE}, lambda: decide(parts.ledger, Verb.APPROVE, ONE))


def test_a_log_that_cannot_be_read_is_told_in_a_round(parts: ScheduledParts) -> None:
    def spoil() -> None:
        parts.log.unlink()
        parts.log.symlink_to(parts.log)
        list(parts.source.look())

    run(parts, FAST, lambda: Event.LOG_PROBLEM in parts.records.events(), spoil)


SLOW = Timing(soon=NEVER, tick=NEVER, verify=NEVER, reconcile=NEVER)


def after_the_first_round(
    parts: ScheduledParts, change: Callable[[Scheduler], object], condition: Callable[[], object], timing: Timing = SLOW
) -> None:
    """Change something while the scheduler rests for ever, and wait for what comes of it."""

    async def work() -> None:
        async with parts.running(timing) as scheduler:
            await until(lambda: parts.ledger.running_time.last_clock() is not None)
            for _ in range(20):
                await asyncio.sleep(0.001)
            change(scheduler)
            await until(condition)

    asyncio.run(work())


def test_a_certificate_that_appears_is_matched_at_once_and_kept_if_it_is_approved(parts: ScheduledParts) -> None:
    waiting, approved = (make(parts.index.directory, f"{name}.example") for name in ("waiting", "approved"))
    parts.ledger.sightings.record("file", "1", [Sighting(waiting.fingerprint, 1, 1, 1)], lambda _: False)
    decide(parts.ledger, Verb.APPROVE, approved.fingerprint)

    def appear(scheduler: Scheduler) -> None:
        assert parts.ledger.identities.among([approved.fingerprint]) == {}
        parts.index.refresh()
        scheduler.certificates_changed({waiting.fingerprint, approved.fingerprint}, set())
        assert Event.ATTEMPT_SEEN in parts.records.events()

    after_the_first_round(parts, appear, lambda: parts.ledger.identities.among([approved.fingerprint]))


def test_what_is_approved_is_known_by_its_certificate_in_a_round_that_begins_at_once(parts: ScheduledParts) -> None:
    laptop = make(parts.index.directory, "laptop.example")
    parts.index.refresh()
    request = by_person(Verb.APPROVE, [laptop.fingerprint], "alice", 1, request="1", insist=OPTIONS)
    after_the_first_round(
        parts,
        lambda _: parts.decider.decide(request),
        lambda: parts.ledger.identities.among([laptop.fingerprint]),
    )


def test_a_certificate_that_vanishes_is_told_in_a_round_that_begins_at_once(parts: ScheduledParts) -> None:
    decide(parts.ledger, Verb.APPROVE, ONE)
    parts.ledger.identities.keep([Identity(ONE, "key", "CN=a", "CN=a", None)])
    after_the_first_round(
        parts,
        lambda scheduler: scheduler.certificates_changed(set(), {ONE}),
        lambda: Event.CERTIFICATE_GONE in parts.records.events(),
    )
    assert parts.records.events().count(Event.CERTIFICATE_GONE) == 1


def test_another_configuration_takes_effect_at_once(parts: ScheduledParts) -> None:
    parts.ledger.sightings.record("file", "1", [Sighting(ONE, 1, 1, 1)], lambda _: True)
    parts.ledger.running_time.advance(2 * 86_400_000, 1)
    shorter = parts.config._replace(queue=parts.config.queue._replace(forget_pending_after=timedelta(days=1)))
    after_the_first_round(
        parts,
        lambda scheduler: scheduler.configure(shorter),
        lambda: parts.ledger.entries.get(ONE).status is Status.UNSEEN,
    )


def test_the_directory_is_reconciled_in_its_time(parts: ScheduledParts) -> None:
    decide(parts.ledger, Verb.APPROVE, ONE)
    timing = Timing(soon=0.01, tick=0.01, verify=NEVER, reconcile=0.05)
    file = parts.allowed.path / ONE
    run(parts, timing, file.exists, file.unlink)
    assert file.exists()


def test_a_pending_entry_is_forgotten_in_a_round(parts: ScheduledParts) -> None:
    parts.ledger.sightings.record("file", "1", [Sighting(ONE, 1, 1, 1)], lambda _: True)
    parts.ledger.running_time.advance(91 * 86_400_000, 1)
    run(parts, FAST, lambda: parts.ledger.entries.get(ONE).status is Status.UNSEEN)


def test_what_was_dropped_from_the_queue_is_told(parts: ScheduledParts) -> None:
    parts.ledger.sightings.unmatched_limit = 1

    def flood() -> None:
        seen = [Sighting(Fingerprint(f"{n:064X}"), 1, n, n) for n in range(5)]
        parts.ledger.sightings.record("file", "1", seen, lambda _: False)

    run(parts, FAST, lambda: Event.UNMATCHED_DROPPED in parts.records.events(), flood)
    [fields] = [fields for event, _, fields in parts.records.kept if event is Event.UNMATCHED_DROPPED]
    assert fields["COUNT"] == "4"


def test_a_full_disk_is_told_once_and_maintenance_goes_on_when_there_is_room(parts: ScheduledParts) -> None:
    many = [Fingerprint(f"{n:064X}") for n in range(3000)]
    decide(parts.ledger, Verb.APPROVE, *many)
    parts.ledger.identities.keep([Identity(one, one, one, one, 1) for one in many])  # all of them are to be told of

    def fill() -> None:
        with parts.ledger._store.reading() as db:
            db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")

    def make_room() -> bool:
        if Event.LEDGER_PROBLEM in parts.records.events():
            with parts.ledger._store.reading() as db:
                db.execute("PRAGMA max_page_count = 1000000")
        return Event.LEDGER_BACK in parts.records.events()

    run(parts, FAST, make_room, fill)
    assert parts.records.events().count(Event.LEDGER_PROBLEM) == 1
    assert parts.records.events().count(Event.CERTIFICATE_EXPIRED) == 3000
