"""What is decided becomes what Exim honours, whatever happens on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from eximcertd.events import Event
from eximcertd.reload.request import NOT_LOADED, ReloadAnswer
from eximcertd.settings import AllowlistSettings as Allowlist
from eximcertd.status import Verb

if TYPE_CHECKING:
    import pytest

    from eximcertd.publish.request import Request
from lab.publication_parts import ONE, THREE, TWO, PublicationParts


def test_what_is_approved_is_published_and_confirmed(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)
    assert parts.start()
    assert parts.publisher.loaded == {ONE}
    assert parts.directory.contents().fingerprints == {ONE}


def test_a_revocation_leaves_list_and_directory(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    parts.decide(Verb.REVOKE, ONE)
    assert parts.start()
    assert parts.publisher.loaded == {TWO}
    assert parts.directory.contents().fingerprints == {TWO}


def test_a_file_that_exim_was_never_seen_to_load_is_published_again(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    parts.decide(Verb.REVOKE, ONE)
    parts.ledger.publications.begin("list", 1)
    parts.publisher.edit(TWO)  # renamed, and then the machine stops before the HUP
    assert parts.publisher.loaded == {ONE, TWO}
    assert parts.start()
    assert parts.publisher.loaded == {TWO}


def test_auto_takes_the_directory_where_a_macro_of_the_site_rewrites_fingerprints(parts: PublicationParts) -> None:
    parts.allowlist = Allowlist(form="auto")
    parts.decide(Verb.APPROVE, ONE)
    parts.publisher.rewriting = "DB"
    assert parts.start()
    assert parts.publisher.form == "directory"
    assert any("DB" in message for _, message, _ in parts.records.kept)


def test_what_was_decided_waits_while_the_configuration_is_broken_and_goes_live_once_it_is_mended(
    parts: PublicationParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eximcertd.publication.retry.FIRST", 0.01)
    parts.start()
    parts.publisher.broken = "option setting expected"

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        parts.decide(Verb.APPROVE, ONE)
        state = await publication.settle()
        assert (state.ok, state.exim) == (False, "option setting expected")
        assert not parts.is_live(publication)
        assert state.retry_at is not None
        parts.publisher.broken = ""
        async with asyncio.timeout(10):
            while not parts.is_live(publication):  # noqa: ASYNC110 - what is waited for is a retry that nobody announces
                await asyncio.sleep(0.01)
        await publication.stop()

    asyncio.run(run())
    assert parts.publisher.loaded == {ONE}


def test_decisions_that_come_while_a_publication_runs_share_the_next(parts: PublicationParts) -> None:
    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        gate = parts.hold()
        parts.publisher.asked.clear()
        parts.decide(Verb.APPROVE, ONE)
        first = asyncio.create_task(publication.settle())
        await asyncio.sleep(0)
        waiting = []
        for fingerprint in (TWO, THREE):
            parts.decide(Verb.APPROVE, fingerprint)
            waiting.append(asyncio.create_task(publication.settle()))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *waiting)
        assert publication.live
        assert parts.publisher.asked.count("load") == 2

    asyncio.run(run())
    assert parts.publisher.loaded == {ONE, TWO, THREE}


def test_an_exim_that_died_is_reported_first_at_the_highest_level_and_the_previous_list_restored(
    parts: PublicationParts,
) -> None:
    parts.decide(Verb.APPROVE, ONE)
    parts.start()
    parts.decide(Verb.APPROVE, TWO)
    parts.publisher.dies = True
    assert not parts.start()
    down = [message for event, message, _ in parts.records.kept if event is Event.EXIM_IS_DOWN]
    assert down[0].startswith("EXIM IS DOWN")
    assert "The previous list was restored." in down[0]
    assert parts.publisher.fingerprints == (ONE,)
    parts.publisher.dies = False
    assert parts.start()
    assert parts.publisher.loaded == {ONE, TWO}


def test_a_configuration_that_breaks_between_write_and_load_gets_the_previous_list_back(
    parts: PublicationParts,
) -> None:
    parts.decide(Verb.APPROVE, ONE)
    parts.start()
    parts.decide(Verb.APPROVE, TWO)

    async def broken_before_load(request: Request) -> ReloadAnswer:
        parts.publisher.broken = "" if request.action.startswith("validate") else "no_such_option"
        return await parts.publisher.reload(request)

    parts.ask_reload = broken_before_load
    assert not parts.start()
    assert parts.publisher.fingerprints == (ONE,)
    assert parts.publisher.loaded == {ONE}


def test_a_list_that_somebody_was_not_seen_to_load_is_not_live_and_is_loaded_again(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)

    async def not_loaded(request: Request) -> ReloadAnswer:
        if request.action.startswith("load"):
            return ReloadAnswer(NOT_LOADED, "reload", "process 7 listens on port 25")
        return await parts.publisher.reload(request)

    parts.ask_reload = not_loaded
    assert not parts.start()
    assert parts.publisher.fingerprints == (ONE,)  # it stands, and counts for the next load
    parts.ask_reload = parts.publisher.reload
    assert parts.start()
    assert parts.publisher.loaded == {ONE}


def test_a_publisher_that_does_not_answer_leaves_the_decision_waiting(parts: PublicationParts) -> None:
    parts.publisher.down = True
    parts.decide(Verb.APPROVE, ONE)
    assert not parts.start()
    parts.publisher.down = False
    assert parts.start()


def test_live_is_not_said_of_a_file_that_somebody_has_touched_since(parts: PublicationParts) -> None:
    parts.allowlist = Allowlist(form="directory")
    parts.decide(Verb.APPROVE, ONE, TWO)

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        parts.publisher.edit(ONE, TWO)  # the list form, put back by hand and loaded
        parts.publisher.loaded, parts.publisher.loaded_form = frozenset({ONE, TWO}), "list"
        parts.decide(Verb.REVOKE, ONE)
        await publication.settle([ONE])
        assert publication.live

    asyncio.run(run())
    assert parts.publisher.loaded_form == "directory"


def test_each_attempt_is_counted_by_how_it_ended(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)
    parts.publisher.broken = "no_such_option"

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        parts.publisher.broken = ""
        await publication.settle()
        await publication.stop()

    asyncio.run(run())
    assert parts.ledger.publications.outcomes == {"invalid": 1, "live": 1}


def test_the_directory_form_begins_without_the_files_of_rejected_ones(parts: PublicationParts) -> None:
    parts.allowlist = Allowlist(form="directory")
    parts.decide(Verb.APPROVE, ONE)
    parts.decide(Verb.REJECT, TWO)
    parts.directory.change([TWO, THREE], [])

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        assert publication.live
        await publication.stop()

    asyncio.run(run())
    assert parts.directory.contents().fingerprints == {ONE, THREE}, "what nobody decided is adopted at the first start"
