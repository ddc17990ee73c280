"""What is recorded of a publication, and when one that failed is tried again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from eximcertd.events import Event
from eximcertd.publish import request as wire
from eximcertd.publish.request import Answer
from eximcertd.status import Verb

if TYPE_CHECKING:
    from eximcertd.publish.request import Request
from lab.publication_parts import ONE, PublicationParts


def test_a_publication_is_recorded_with_its_form_and_number_and_the_time_at_which_it_was_loaded(
    parts: PublicationParts,
) -> None:
    parts.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        state = publication.state
        assert (state.form, state.outcome, state.step, state.message, state.exim_pid) == ("list", "live", "", "", 1)
        assert state.loaded_at == 1.0, "as the reload part has seen it"
        assert (state.retry_at, publication.retrying) == (None, False)
        await publication.republish()
        assert publication.state.loaded_at == 1.0, "it was checked, and not loaded again"

    asyncio.run(run())
    published = [(message, fields) for event, message, fields in parts.records.kept if event is Event.PUBLISHED]
    assert published == [
        ("The allowlist is published in the list form", {"FORM": "list", "REVISION": f"{number}", "OUTCOME": "live"})
        for number in (1, 2)
    ]


def test_nothing_is_published_twice_but_after_a_change_of_the_configuration_it_is(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        parts.publisher.asked.clear()
        await publication.settle()
        assert parts.publisher.asked == []
        await publication.republish()
        assert parts.publisher.asked == ["write list", "check"]
        await publication.settle()
        assert len(parts.publisher.asked) == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ("/etc/exim4/x: No space left on device (step write)", Event.DISK_FULL),
        ("/etc/exim4/x: Input/output error (step write)", Event.PUBLICATION_FAILED),
    ],
)
def test_a_failure_is_recorded_with_its_step_and_tried_again(
    parts: PublicationParts, message: str, event: Event
) -> None:
    async def failing(request: Request) -> Answer:
        if request.action == "read":
            return await parts.publisher.publish(request)
        return Answer(wire.FAILED, "write", message)

    parts.ask = failing
    parts.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        state = publication.state
        assert (state.ok, state.outcome, state.step, state.message) == (False, "failed", "write", message)
        assert publication.retrying
        assert state.retry_at is not None
        assert not parts.is_live(publication)
        await publication.stop()
        assert not publication.retrying

    asyncio.run(run())
    assert parts.records.kept == [(event, f"Not published: {message}", {"STEP": "write", "EXIM": ""})]


@pytest.mark.parametrize(("after", "live"), [(0.01, True), (5.1, False)])
def test_a_short_interval_between_two_writes_is_waited_for_and_a_long_one_is_left_to_the_timer(
    parts: PublicationParts, after: float, live: bool
) -> None:
    refused: list[str] = []

    async def limited(request: Request) -> Answer:
        if request.action == "write list" and not refused:
            refused.append(request.action)
            found = parts.publisher.found()
            return Answer(wire.REFUSED, "write", "too early", found, str(parts.publisher.path), retry_after=after)
        return await parts.publisher.publish(request)

    parts.ask = limited
    parts.decide(Verb.APPROVE, ONE)

    async def run() -> bool:
        publication = parts.publication()
        await publication.start()
        waits = publication.retrying
        await publication.stop()
        return waits

    assert asyncio.run(run()) is not live
    assert (parts.publisher.loaded == {ONE}) is live


def test_a_file_that_is_changed_again_and_again_is_given_up_and_tried_again_later(parts: PublicationParts) -> None:
    writes: list[str] = []

    async def changed(request: Request) -> Answer:
        if request.action == "write list":
            writes.append(request.action)
            return Answer(wire.CHANGED, "", "changed by somebody else", parts.publisher.found(), "")
        return await parts.publisher.publish(request)

    parts.ask = changed
    parts.decide(Verb.APPROVE, ONE)
    assert not parts.start()
    assert len(writes) == 10, "five times at the start, five at the next decision"
    assert Event.PUBLICATION_FAILED in parts.records.events()


def test_a_configuration_that_breaks_later_is_found_and_told_once_it_is_verified(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        await publication.verify()
        assert publication.state.ok
        parts.publisher.broken = "no_such_option"
        for _ in range(2):
            await publication.verify()
        state = publication.state
        assert (state.ok, state.step, state.exim) == (False, "validate", "no_such_option")
        assert publication.retrying
        parts.publisher.broken = ""
        await publication.settle()
        assert publication.state.ok
        await publication.stop()

    asyncio.run(run())
    assert parts.records.events().count(Event.PUBLICATION_FAILED) == 1


def test_programs_that_cannot_be_reached_at_the_start_are_told_and_asked_again(parts: PublicationParts) -> None:
    parts.publisher.down = True

    async def run() -> None:
        publication = parts.publication()
        assert publication.state.outcome == "waiting"
        await publication.start()
        assert (publication.state.outcome, publication.state.step) == ("unreachable", "ask")
        assert publication.retrying
        await publication.stop()

    asyncio.run(run())


def test_a_stop_lets_a_publication_that_runs_come_to_its_end(parts: PublicationParts) -> None:
    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        gate = parts.hold()
        parts.decide(Verb.APPROVE, ONE)
        running = asyncio.create_task(publication.settle())
        await asyncio.sleep(0)
        stopping = asyncio.create_task(publication.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        gate.set()
        await stopping
        assert running.done()

    asyncio.run(run())
    assert parts.publisher.loaded == {ONE}
