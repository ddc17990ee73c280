"""What a person writes into the macro file is adopted, withheld or reported; a crash is never taken for an edit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.reload.request import ReloadAnswer
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from eximcertd.publish.request import Answer, Request
from lab.publication_parts import ONE, THREE, TWO, PublicationParts


def test_a_hand_written_list_is_adopted_whole_at_the_first_start(parts: PublicationParts) -> None:
    many = tuple(Fingerprint(f"{n:064X}") for n in range(500))
    parts.publisher.edit(*many)
    assert parts.start()
    assert parts.publisher.loaded == set(many)
    decision = parts.ledger.entries.get(many[7]).decision
    assert decision is not None
    assert decision.by == "by hand"


def test_what_a_person_adds_later_is_adopted(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)
    parts.start()
    parts.publisher.edit(ONE, TWO)
    assert parts.start()
    assert parts.standing(TWO) is Status.APPROVED
    assert parts.publisher.loaded == {ONE, TWO}


def test_an_old_file_put_back_approves_nobody_who_was_revoked(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    parts.decide(Verb.REVOKE, ONE)
    parts.start()
    parts.publisher.edit(ONE, TWO)
    assert parts.start()
    assert parts.standing(ONE) is Status.REVOKED
    assert parts.publisher.loaded == {TWO}
    assert Event.MANUAL_EDIT_FOUND in parts.records.events()


def test_what_a_person_takes_out_is_not_put_back_before_a_person_decides(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    parts.publisher.edit(TWO)
    assert parts.start()
    assert parts.publisher.loaded == {TWO}
    assert parts.directory.contents().fingerprints == {TWO}
    assert parts.ledger.decisions.withheld() == [ONE]
    parts.decide(Verb.APPROVE, ONE)
    assert parts.start()
    assert parts.publisher.loaded == {ONE, TWO}


def test_a_crash_between_deciding_and_publishing_is_no_hand_edit(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    parts.decide(Verb.REVOKE, ONE)  # and then the machine stops
    assert parts.start()
    assert parts.standing(ONE) is Status.REVOKED
    assert parts.publisher.loaded == {TWO}


@pytest.mark.parametrize("reached", ["before the rename", "after the rename"])
def test_a_crash_while_publishing_is_no_hand_edit(parts: PublicationParts, reached: str) -> None:
    parts.decide(Verb.APPROVE, ONE)
    parts.start()
    parts.decide(Verb.APPROVE, TWO)
    parts.ledger.publications.begin("list", 1)
    if reached == "after the rename":
        parts.publisher.edit(ONE, TWO)
    parts.decide(Verb.REVOKE, TWO)
    assert parts.start()
    assert parts.standing(TWO) is Status.REVOKED
    assert parts.publisher.loaded == {ONE}


def test_a_lost_ledger_is_rebuilt_from_the_file_and_nothing_is_removed(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    parts.lose_ledger()
    assert parts.start()
    assert parts.publisher.loaded == {ONE, TWO}
    assert parts.directory.contents().fingerprints == {ONE, TWO}


def test_a_hand_edit_in_the_moment_of_a_publication_is_seen_and_nothing_is_lost(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)
    parts.start()
    parts.decide(Verb.APPROVE, TWO)

    async def edited_first(request: Request) -> Answer:
        if request.action == "write list" and THREE not in parts.publisher.fingerprints:
            parts.publisher.edit(ONE, THREE)
        return await parts.publisher.publish(request)

    parts.ask = edited_first
    assert parts.start()
    assert parts.publisher.loaded == {ONE, TWO, THREE}


def test_what_was_written_and_never_loaded_is_no_manual_edit_when_it_is_decided_anew(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    parts.decide(Verb.REVOKE, ONE)

    async def lost(request: Request) -> ReloadAnswer:
        if request.action.startswith("load"):
            return ReloadAnswer("unknown", "ask", "it was killed")
        return await parts.publisher.reload(request)

    parts.ask_reload = lost
    assert not parts.start()
    assert parts.publisher.fingerprints == (TWO,)  # written, and not seen to be loaded
    parts.ask_reload = parts.publisher.reload
    parts.publisher.broken = "no_such_option"
    parts.decide(Verb.APPROVE, ONE)
    assert not parts.start()  # rejected before the write
    parts.publisher.broken = ""
    assert parts.start()
    assert parts.publisher.loaded == {ONE, TWO}
    assert parts.ledger.decisions.withheld() == []
    assert Event.MANUAL_EDIT_FOUND not in parts.records.events()


def test_the_same_file_written_again_by_somebody_else_is_loaded_again(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)
    parts.start()
    parts.publisher.edit(ONE)  # the same bytes in another file: nobody has seen Exim load that one

    async def run() -> None:
        publication = parts.publication()
        parts.publisher.asked.clear()
        await publication.start()
        assert "load" in parts.publisher.asked
        assert publication.live
        parts.publisher.asked.clear()
        await publication.verify()
        assert "load" not in parts.publisher.asked

    asyncio.run(run())


def test_a_spelling_that_exim_does_not_match_is_published_anew(parts: PublicationParts) -> None:
    parts.publisher.edit(ONE)
    parts.publisher.corrected = (ONE,)
    assert parts.start()
    assert parts.publisher.loaded == {ONE}


def test_a_manual_edit_is_found_when_somebody_looks_and_without_one_nothing_is_asked(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        parts.publisher.asked.clear()
        await publication.look()
        assert parts.publisher.asked == []
        parts.publisher.edit(ONE, TWO)
        await publication.look()
        assert parts.is_live(publication)
        parts.publisher.path.unlink()
        parts.publisher.form, parts.publisher.fingerprints = "absent", ()
        await publication.look()
        assert "read" in parts.publisher.asked

    asyncio.run(run())
    assert parts.standing(TWO) is Status.APPROVED
    assert parts.ledger.decisions.withheld() == [ONE, TWO] or parts.publisher.loaded == {ONE, TWO}


def test_what_was_removed_or_not_adopted_by_hand_is_named(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.decide(Verb.REJECT, THREE)
    parts.start()
    parts.publisher.edit(TWO, THREE)
    parts.start()
    told = [message for event, message, _ in parts.records.kept if event is Event.MANUAL_EDIT_FOUND]
    assert [message.partition(": ")[0] for message in told] == [
        "Not adopted (found in the macro file), because rejected or revoked before",
        "Removed by hand, and not published until approved or revoked",
    ]
