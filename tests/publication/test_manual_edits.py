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
from lab.house import ONE, THREE, TWO, House


def test_a_hand_written_list_is_adopted_whole_at_the_first_start(house: House) -> None:
    many = tuple(Fingerprint(f"{n:064X}") for n in range(500))
    house.publisher.edit(*many)
    assert house.start()
    assert house.publisher.loaded == set(many)
    decision = house.ledger.entries.get(many[7]).decision
    assert decision is not None
    assert decision.by == "by hand"


def test_what_a_person_adds_later_is_adopted(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)
    house.start()
    house.publisher.edit(ONE, TWO)
    assert house.start()
    assert house.standing(TWO) is Status.APPROVED
    assert house.publisher.loaded == {ONE, TWO}


def test_an_old_file_put_back_lets_nobody_in_who_was_thrown_out(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.decide(Verb.REVOKE, ONE)
    house.start()
    house.publisher.edit(ONE, TWO)
    assert house.start()
    assert house.standing(ONE) is Status.REVOKED
    assert house.publisher.loaded == {TWO}
    assert Event.MANUAL_EDIT_FOUND in house.records.events()


def test_what_a_person_takes_out_is_not_put_back_before_a_person_decides(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.publisher.edit(TWO)
    assert house.start()
    assert house.publisher.loaded == {TWO}
    assert house.directory.contents().fingerprints == {TWO}
    assert house.ledger.decisions.withheld() == [ONE]
    house.decide(Verb.APPROVE, ONE)
    assert house.start()
    assert house.publisher.loaded == {ONE, TWO}


def test_a_crash_between_deciding_and_publishing_is_no_hand_edit(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.decide(Verb.REVOKE, ONE)  # and then the machine stops
    assert house.start()
    assert house.standing(ONE) is Status.REVOKED
    assert house.publisher.loaded == {TWO}


@pytest.mark.parametrize("reached", ["before the rename", "after the rename"])
def test_a_crash_while_publishing_is_no_hand_edit(house: House, reached: str) -> None:
    house.decide(Verb.APPROVE, ONE)
    house.start()
    house.decide(Verb.APPROVE, TWO)
    house.ledger.publications.begin("list", 1)
    if reached == "after the rename":
        house.publisher.edit(ONE, TWO)
    house.decide(Verb.REVOKE, TWO)
    assert house.start()
    assert house.standing(TWO) is Status.REVOKED
    assert house.publisher.loaded == {ONE}


def test_a_lost_ledger_is_rebuilt_from_the_file_and_nothing_is_removed(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.lose_ledger()
    assert house.start()
    assert house.publisher.loaded == {ONE, TWO}
    assert house.directory.contents().fingerprints == {ONE, TWO}


def test_a_hand_edit_in_the_moment_of_a_publication_is_seen_and_nothing_is_lost(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)
    house.start()
    house.decide(Verb.APPROVE, TWO)

    async def edited_first(request: Request) -> Answer:
        if request.action == "write list" and THREE not in house.publisher.fingerprints:
            house.publisher.edit(ONE, THREE)
        return await house.publisher.publish(request)

    house.ask = edited_first
    assert house.start()
    assert house.publisher.loaded == {ONE, TWO, THREE}


def test_what_was_written_and_never_loaded_is_no_manual_edit_when_it_is_decided_anew(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.decide(Verb.REVOKE, ONE)

    async def lost(request: Request) -> ReloadAnswer:
        if request.action.startswith("load"):
            return ReloadAnswer("unknown", "ask", "it was killed")
        return await house.publisher.reload(request)

    house.ask_reload = lost
    assert not house.start()
    assert house.publisher.fingerprints == (TWO,)  # written, and not seen to be loaded
    house.ask_reload = house.publisher.reload
    house.publisher.broken = "no_such_option"
    house.decide(Verb.APPROVE, ONE)
    assert not house.start()  # rejected before the write
    house.publisher.broken = ""
    assert house.start()
    assert house.publisher.loaded == {ONE, TWO}
    assert house.ledger.decisions.withheld() == []
    assert Event.MANUAL_EDIT_FOUND not in house.records.events()


def test_the_same_file_written_again_by_somebody_else_is_loaded_again(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)
    house.start()
    house.publisher.edit(ONE)  # the same bytes in another file: nobody has seen Exim load that one

    async def run() -> None:
        publication = house.publication()
        house.publisher.asked.clear()
        await publication.start()
        assert "load" in house.publisher.asked
        assert publication.live
        house.publisher.asked.clear()
        await publication.verify()
        assert "load" not in house.publisher.asked

    asyncio.run(run())


def test_a_spelling_that_exim_does_not_match_is_published_anew(house: House) -> None:
    house.publisher.edit(ONE)
    house.publisher.corrected = (ONE,)
    assert house.start()
    assert house.publisher.loaded == {ONE}


def test_a_manual_edit_is_found_when_somebody_looks_and_without_one_nothing_is_asked(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = house.publication()
        await publication.start()
        house.publisher.asked.clear()
        await publication.look()
        assert house.publisher.asked == []
        house.publisher.edit(ONE, TWO)
        await publication.look()
        assert house.is_live(publication)
        house.publisher.path.unlink()
        house.publisher.form, house.publisher.fingerprints = "absent", ()
        await publication.look()
        assert "read" in house.publisher.asked

    asyncio.run(run())
    assert house.standing(TWO) is Status.APPROVED
    assert house.ledger.decisions.withheld() == [ONE, TWO] or house.publisher.loaded == {ONE, TWO}


def test_what_was_removed_or_not_adopted_by_hand_is_named(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.decide(Verb.REJECT, THREE)
    house.start()
    house.publisher.edit(TWO, THREE)
    house.start()
    told = [message for event, message, _ in house.records.kept if event is Event.MANUAL_EDIT_FOUND]
    assert [message.partition(": ")[0] for message in told] == [
        "Not adopted (found in the macro file), because rejected or revoked before",
        "Removed by hand, and not published until approved or revoked",
    ]
