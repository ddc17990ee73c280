"""What is decided becomes what Exim honours, whatever happens on the way, and nobody gets in by a file."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
from lab.deciding import decide
from lab.publisher import TwinPrograms
from lab.records import Records

from eximcertd.decisions.decide import Decider
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.publisher import Publisher
from eximcertd.publish import request as wire
from eximcertd.publish.request import Answer
from eximcertd.reload.request import NOT_LOADED, ReloadAnswer
from eximcertd.settings import AllowlistSettings as Allowlist
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from eximcertd.publish.request import Request

ONE, TWO, THREE = (Fingerprint(f"{n:064X}") for n in (1, 2, 3))


class House:
    """A ledger, a directory, a publisher's twin, and the publication between them; ``restart`` is a new process."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.publisher = TwinPrograms(state / "macro")
        self.records = Records()
        self.allowlist = Allowlist(form="list")
        (state / "ledger").mkdir()
        self.directory = AllowedDirectory(state / "allowed")
        self.directory.prepare()
        self.ledger = Ledger(state / "ledger")
        self.ask: Callable[[Request], Awaitable[Answer]] = self.publisher.publish
        self.ask_reload: Callable[[Request], Awaitable[ReloadAnswer]] = self.publisher.reload

    def decide(self, verb: Verb, *fingerprints: Fingerprint) -> None:
        decide(self.ledger, verb, *fingerprints)

    def lose_ledger(self) -> None:
        self.ledger.close()
        for file in (self.state / "ledger").iterdir():
            file.unlink()
        self.ledger = Ledger(self.state / "ledger")

    async def publish(self, request: Request) -> Answer:
        return await self.ask(request)

    async def reload(self, request: Request) -> ReloadAnswer:
        return await self.ask_reload(request)

    def publication(self) -> Publisher:
        return Publisher(
            self.ledger, self.directory, self,
            decider=Decider(self.ledger, self.records), allowlist=self.allowlist, recorder=self.records,
        )  # fmt: skip

    def start(self) -> bool:
        """Start, settle, stop; tell whether what was decided is live."""

        async def run() -> bool:
            publication = self.publication()
            await publication.start()
            await publication.reconcile()
            await publication.settle()
            live = publication.live
            await publication.stop()
            return live

        return asyncio.run(run())

    @staticmethod
    def is_live(publication: Publisher) -> bool:
        """Ask anew; mypy takes an attribute for constant."""
        return publication.live

    def standing(self, fingerprint: Fingerprint) -> Status:
        return self.ledger.entries.get(fingerprint).status


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.ledger.close()


def test_what_is_approved_is_published_and_confirmed(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)
    assert house.start()
    assert house.publisher.loaded == {ONE}
    assert house.directory.contents().fingerprints == {ONE}


def test_a_revocation_leaves_list_and_directory(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.decide(Verb.REVOKE, ONE)
    assert house.start()
    assert house.publisher.loaded == {TWO}
    assert house.directory.contents().fingerprints == {TWO}


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
    assert Event.HAND_EDIT_FOUND in house.records.events()


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


def test_a_file_that_exim_was_never_seen_to_load_is_published_again(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.decide(Verb.REVOKE, ONE)
    house.ledger.publications.begin("list", 1)
    house.publisher.edit(TWO)  # renamed, and then the machine stops before the HUP
    assert house.publisher.loaded == {ONE, TWO}
    assert house.start()
    assert house.publisher.loaded == {TWO}


def test_a_lost_ledger_is_rebuilt_from_the_file_and_nothing_is_removed(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.lose_ledger()
    assert house.start()
    assert house.publisher.loaded == {ONE, TWO}
    assert house.directory.contents().fingerprints == {ONE, TWO}


def test_a_lost_ledger_is_rebuilt_from_the_directory_in_the_directory_form(house: House) -> None:
    house.allowlist = Allowlist(form="directory")
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.lose_ledger()
    assert house.start()
    assert house.ledger.publications.wanted() == [ONE, TWO]
    assert house.directory.contents().fingerprints == {ONE, TWO}


def test_in_the_directory_form_a_decision_needs_no_publisher(house: House) -> None:
    house.allowlist = Allowlist(form="directory")

    async def run() -> None:
        publication = house.publication()
        await publication.start()
        house.publisher.asked.clear()
        house.decide(Verb.APPROVE, ONE)
        state = await publication.settle()
        assert state.outcome == "live"
        assert publication.live
        assert not house.publisher.asked

    asyncio.run(run())
    assert house.directory.contents().fingerprints == {ONE}


def test_auto_changes_its_form_at_the_limit_and_the_directory_is_never_emptied(house: House) -> None:
    house.allowlist = Allowlist(form="auto", list_limit=2)
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    assert house.publisher.form == "list"
    house.decide(Verb.APPROVE, THREE)
    assert house.start()
    assert house.publisher.form == "directory"
    house.decide(Verb.REVOKE, TWO, THREE)
    assert house.start()
    assert house.publisher.form == "list"
    assert house.publisher.loaded == {ONE}
    assert house.directory.contents().fingerprints == {ONE}


def test_auto_takes_the_directory_where_a_macro_of_the_site_rewrites_fingerprints(house: House) -> None:
    house.allowlist = Allowlist(form="auto")
    house.decide(Verb.APPROVE, ONE)
    house.publisher.rewriting = "DB"
    assert house.start()
    assert house.publisher.form == "directory"
    assert any("DB" in message for _, message, _ in house.records.kept)


def test_what_was_decided_waits_while_the_configuration_is_broken_and_goes_live_once_it_is_mended(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eximcertd.publication.retry.FIRST", 0.01)
    house.start()
    house.publisher.broken = "option setting expected"

    async def run() -> None:
        publication = house.publication()
        await publication.start()
        house.decide(Verb.APPROVE, ONE)
        state = await publication.settle()
        assert (state.ok, state.exim) == (False, "option setting expected")
        assert not house.is_live(publication)
        assert state.retry_at is not None
        house.publisher.broken = ""
        async with asyncio.timeout(10):
            while not house.is_live(publication):  # noqa: ASYNC110 - what is waited for is a retry that nobody announces
                await asyncio.sleep(0.01)
        await publication.stop()

    asyncio.run(run())
    assert house.publisher.loaded == {ONE}


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


def test_decisions_that_come_while_a_publication_runs_share_the_next(house: House) -> None:
    async def run() -> None:
        publication = house.publication()
        await publication.start()
        gate = asyncio.Event()
        house.publisher.asked.clear()

        async def slow(request: Request) -> Answer:
            await gate.wait()
            return await house.publisher.publish(request)

        house.ask = slow
        house.decide(Verb.APPROVE, ONE)
        first = asyncio.create_task(publication.settle())
        await asyncio.sleep(0)
        waiting = []
        for fingerprint in (TWO, THREE):
            house.decide(Verb.APPROVE, fingerprint)
            waiting.append(asyncio.create_task(publication.settle()))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *waiting)
        assert publication.live
        assert house.publisher.asked.count("load") == 2

    asyncio.run(run())
    assert house.publisher.loaded == {ONE, TWO, THREE}


def test_an_exim_that_died_is_reported_first_at_the_highest_level_and_the_previous_list_restored(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)
    house.start()
    house.decide(Verb.APPROVE, TWO)
    house.publisher.dies = True
    assert not house.start()
    down = [message for event, message, _ in house.records.kept if event is Event.EXIM_IS_DOWN]
    assert down[0].startswith("EXIM IS DOWN")
    assert "The previous list was restored." in down[0]
    assert house.publisher.fingerprints == (ONE,)
    house.publisher.dies = False
    assert house.start()
    assert house.publisher.loaded == {ONE, TWO}


def test_a_configuration_that_breaks_between_write_and_load_gets_the_previous_list_back(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)
    house.start()
    house.decide(Verb.APPROVE, TWO)

    async def broken_before_load(request: Request) -> ReloadAnswer:
        house.publisher.broken = "" if request.action.startswith("validate") else "no_such_option"
        return await house.publisher.reload(request)

    house.ask_reload = broken_before_load
    assert not house.start()
    assert house.publisher.fingerprints == (ONE,)
    assert house.publisher.loaded == {ONE}


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
    assert Event.HAND_EDIT_FOUND not in house.records.events()


def test_a_list_that_somebody_was_not_seen_to_load_is_not_live_and_is_loaded_again(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)

    async def not_loaded(request: Request) -> ReloadAnswer:
        if request.action.startswith("load"):
            return ReloadAnswer(NOT_LOADED, "reload", "process 7 listens on port 25")
        return await house.publisher.reload(request)

    house.ask_reload = not_loaded
    assert not house.start()
    assert house.publisher.fingerprints == (ONE,)  # it stands, and counts for the next load
    house.ask_reload = house.publisher.reload
    assert house.start()
    assert house.publisher.loaded == {ONE}


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


def test_a_publisher_that_does_not_answer_leaves_the_decision_waiting(house: House) -> None:
    house.publisher.down = True
    house.decide(Verb.APPROVE, ONE)
    assert not house.start()
    house.publisher.down = False
    assert house.start()


def test_files_of_nobody_are_removed_but_never_many_of_them_without_a_person(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)
    house.start()
    house.directory.change([TWO], [])
    house.start()
    assert house.directory.contents().fingerprints == {ONE}
    many = [Fingerprint(f"{n:064X}") for n in range(100, 200)]
    house.directory.change(many, [])
    house.start()
    assert len(house.directory.contents().fingerprints) == 101
    assert any("approve or revoke them" in message for _, message, _ in house.records.kept)


def test_files_of_those_who_were_thrown_out_are_removed_however_many(house: House) -> None:
    many = [Fingerprint(f"{n:064X}") for n in range(100, 200)]
    house.decide(Verb.APPROVE, ONE, *many)
    house.start()
    house.decide(Verb.REVOKE, *many)
    house.start()
    house.directory.change(many, [])  # an old directory, put back
    house.start()
    assert house.directory.contents().fingerprints == {ONE}


def test_the_directory_form_is_not_taken_over_many_files_of_nobody(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)
    house.start()
    house.directory.change([Fingerprint(f"{n:064X}") for n in range(100, 200)], [])
    house.allowlist = Allowlist(form="directory")
    house.start()
    assert house.publisher.form == "list"
    failed = [message for event, message, _ in house.records.kept if event is Event.PUBLICATION_FAILED]
    assert "100 unknown fingerprints in the directory: approve or revoke them" in failed[-1]


def test_a_revocation_that_is_asked_for_again_takes_its_file_away_again(house: House) -> None:
    house.allowlist = Allowlist(form="directory")
    house.decide(Verb.APPROVE, ONE, TWO)

    async def run() -> None:
        publication = house.publication()
        await publication.start()
        house.decide(Verb.REVOKE, ONE)
        await publication.settle([ONE])
        house.directory.change([ONE], [])  # somebody put it back
        await publication.settle([ONE])

    asyncio.run(run())
    assert house.directory.contents().fingerprints == {TWO}


def test_live_is_not_said_of_a_file_that_somebody_has_touched_since(house: House) -> None:
    house.allowlist = Allowlist(form="directory")
    house.decide(Verb.APPROVE, ONE, TWO)

    async def run() -> None:
        publication = house.publication()
        await publication.start()
        house.publisher.edit(ONE, TWO)  # the list form, put back by hand and loaded
        house.publisher.loaded, house.publisher.loaded_form = frozenset({ONE, TWO}), "list"
        house.decide(Verb.REVOKE, ONE)
        await publication.settle([ONE])
        assert publication.live

    asyncio.run(run())
    assert house.publisher.loaded_form == "directory"


def test_a_directory_that_cannot_be_used_does_not_keep_the_list_form_from_working(house: House) -> None:
    house.start()
    house.directory.path.rmdir()
    house.decide(Verb.APPROVE, ONE)

    async def run() -> bool:
        publication = house.publication()
        await publication.start()
        await publication.settle()
        return publication.live

    assert asyncio.run(run())
    assert house.publisher.loaded == {ONE}


def test_a_spelling_that_exim_does_not_match_is_published_anew(house: House) -> None:
    house.publisher.edit(ONE)
    house.publisher.corrected = (ONE,)
    assert house.start()
    assert house.publisher.loaded == {ONE}


def backup(house: House) -> Path:
    """Copy the ledger, as the manual recommends."""
    copy = house.state / "backup"
    shutil.copytree(house.state / "ledger", copy)
    return copy


def put_back(house: House, copy: Path) -> None:
    house.ledger.close()
    shutil.rmtree(house.state / "ledger")
    shutil.copytree(copy, house.state / "ledger")
    house.ledger = Ledger(house.state / "ledger")


def test_an_old_ledger_in_the_directory_form_restores_nobody_locks_out_nobody_and_says_what_to_settle(
    house: House,
) -> None:
    house.allowlist = Allowlist(form="directory")
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    copy = backup(house)
    house.decide(Verb.REVOKE, ONE)
    house.decide(Verb.APPROVE, THREE)
    house.start()
    put_back(house, copy)
    assert house.start()
    assert house.directory.contents().fingerprints == {TWO, THREE}
    assert house.ledger.decisions.withheld() == [ONE]
    assert house.standing(THREE) is Status.APPROVED
    assert any("older than what was published" in message for _, message, _ in house.records.kept)
    house.decide(Verb.APPROVE, ONE)  # a person settles it
    assert house.start()
    assert house.directory.contents().fingerprints == {ONE, TWO, THREE}


def test_an_old_ledger_locks_out_nobody_whom_it_knows_as_revoked_until_a_person_settles_it(house: House) -> None:
    house.allowlist = Allowlist(form="directory")
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    house.decide(Verb.REVOKE, ONE)
    house.start()
    copy = backup(house)
    house.decide(Verb.APPROVE, ONE)
    house.start()
    put_back(house, copy)
    for _ in range(2):
        house.start()
        assert house.directory.contents().fingerprints == {ONE, TWO}

    async def revoke() -> int:
        publication = house.publication()
        await publication.start()
        await publication.reconcile()
        unknown = publication.unknown_files
        house.decide(Verb.REVOKE, ONE)
        await publication.settle([ONE])
        return unknown

    assert asyncio.run(revoke()) == 1
    assert house.directory.contents().fingerprints == {TWO}


def test_an_old_ledger_makes_no_file_while_root_part_cannot_be_reached(house: House) -> None:
    house.allowlist = Allowlist(form="directory")
    house.decide(Verb.APPROVE, ONE, TWO)
    house.start()
    copy = backup(house)
    house.decide(Verb.REVOKE, ONE)
    house.start()
    put_back(house, copy)
    house.publisher.down = True
    house.start()
    assert house.directory.contents().fingerprints == {TWO}


# what is told of a publication


def test_a_publication_is_recorded_with_its_form_and_number_and_the_time_at_which_it_was_loaded(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = house.publication()
        await publication.start()
        state = publication.state
        assert (state.form, state.outcome, state.step, state.message, state.exim_pid) == ("list", "live", "", "", 1)
        assert state.loaded_at == 1.0, "as the reload part has seen it"
        assert (state.retry_at, publication.retrying) == (None, False)
        await publication.republish()
        assert publication.state.loaded_at == 1.0, "it was checked, and not loaded again"

    asyncio.run(run())
    published = [(message, fields) for event, message, fields in house.records.kept if event is Event.PUBLISHED]
    assert published == [
        ("The allowlist is published in the list form", {"FORM": "list", "REVISION": f"{number}", "OUTCOME": "live"})
        for number in (1, 2)
    ]


def test_nothing_is_published_twice_but_after_a_change_of_the_configuration_it_is(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = house.publication()
        await publication.start()
        house.publisher.asked.clear()
        await publication.settle()
        assert house.publisher.asked == []
        await publication.republish()
        assert house.publisher.asked == ["write list", "check"]
        await publication.settle()
        assert len(house.publisher.asked) == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ("/etc/exim4/x: No space left on device (step write)", Event.DISK_FULL),
        ("/etc/exim4/x: Input/output error (step write)", Event.PUBLICATION_FAILED),
    ],
)
def test_a_failure_is_recorded_with_its_step_and_tried_again(house: House, message: str, event: Event) -> None:
    async def failing(request: Request) -> Answer:
        if request.action == "read":
            return await house.publisher.publish(request)
        return Answer(wire.FAILED, "write", message)

    house.ask = failing
    house.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = house.publication()
        await publication.start()
        state = publication.state
        assert (state.ok, state.outcome, state.step, state.message) == (False, "failed", "write", message)
        assert publication.retrying
        assert state.retry_at is not None
        assert not house.is_live(publication)
        await publication.stop()
        assert not publication.retrying

    asyncio.run(run())
    assert house.records.kept == [(event, f"Not published: {message}", {"STEP": "write", "EXIM": ""})]


@pytest.mark.parametrize(("after", "live"), [(0.01, True), (5.1, False)])
def test_a_short_interval_between_two_writes_is_waited_for_and_a_long_one_is_left_to_the_timer(
    house: House, after: float, live: bool
) -> None:
    refused: list[str] = []

    async def limited(request: Request) -> Answer:
        if request.action == "write list" and not refused:
            refused.append(request.action)
            found = house.publisher.found()
            return Answer(wire.REFUSED, "write", "too early", found, str(house.publisher.path), retry_after=after)
        return await house.publisher.publish(request)

    house.ask = limited
    house.decide(Verb.APPROVE, ONE)

    async def run() -> bool:
        publication = house.publication()
        await publication.start()
        waits = publication.retrying
        await publication.stop()
        return waits

    assert asyncio.run(run()) is not live
    assert (house.publisher.loaded == {ONE}) is live


def test_a_file_that_is_changed_again_and_again_is_given_up_and_tried_again_later(house: House) -> None:
    writes: list[str] = []

    async def changed(request: Request) -> Answer:
        if request.action == "write list":
            writes.append(request.action)
            return Answer(wire.CHANGED, "", "changed by somebody else", house.publisher.found(), "")
        return await house.publisher.publish(request)

    house.ask = changed
    house.decide(Verb.APPROVE, ONE)
    assert not house.start()
    assert len(writes) in {5, 10}, "five times each time"
    assert Event.PUBLICATION_FAILED in house.records.events()


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


def test_a_configuration_that_breaks_later_is_found_and_told_once_it_is_verified(house: House) -> None:
    house.decide(Verb.APPROVE, ONE)

    async def run() -> None:
        publication = house.publication()
        await publication.start()
        await publication.verify()
        assert publication.state.ok
        house.publisher.broken = "no_such_option"
        for _ in range(2):
            await publication.verify()
        state = publication.state
        assert (state.ok, state.step, state.exim) == (False, "validate", "no_such_option")
        assert publication.retrying
        house.publisher.broken = ""
        await publication.settle()
        assert publication.state.ok
        await publication.stop()

    asyncio.run(run())
    assert house.records.events().count(Event.PUBLICATION_FAILED) == 1


def test_programs_that_cannot_be_reached_at_the_start_are_told_and_asked_again(house: House) -> None:
    house.publisher.down = True

    async def run() -> None:
        publication = house.publication()
        assert publication.state.outcome == "waiting"
        await publication.start()
        assert (publication.state.outcome, publication.state.step) == ("unreachable", "ask")
        assert publication.retrying
        await publication.stop()

    asyncio.run(run())


def test_a_stop_lets_a_publication_that_runs_come_to_its_end(house: House) -> None:
    async def run() -> None:
        publication = house.publication()
        await publication.start()
        gate = asyncio.Event()

        async def slow(request: Request) -> Answer:
            await gate.wait()
            return await house.publisher.publish(request)

        house.ask = slow
        house.decide(Verb.APPROVE, ONE)
        running = asyncio.create_task(publication.settle())
        await asyncio.sleep(0)
        stopping = asyncio.create_task(publication.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        gate.set()
        await stopping
        assert running.done()

    asyncio.run(run())
    assert house.publisher.loaded == {ONE}


@pytest.mark.parametrize(("unknown", "left"), [(20, 0), (21, 21)])
def test_twenty_unknown_files_are_removed_and_named_and_more_are_left(house: House, unknown: int, left: int) -> None:
    house.start()
    many = [Fingerprint(f"{n:064X}") for n in range(100, 100 + unknown)]
    house.directory.change(many, [])
    house.start()
    assert len(house.directory.contents().fingerprints) == left
    [told] = [message for event, message, _ in house.records.kept if event is Event.HAND_EDIT_FOUND]
    assert f"0 rejected or revoked, removed; {unknown} unknown, {'kept: approve' if left else 'removed: '}" in told
    assert told.endswith(f" and {unknown - 10} more")


def test_what_was_removed_or_not_adopted_by_hand_is_named(house: House) -> None:
    house.decide(Verb.APPROVE, ONE, TWO)
    house.decide(Verb.REJECT, THREE)
    house.start()
    house.publisher.edit(TWO, THREE)
    house.start()
    told = [message for event, message, _ in house.records.kept if event is Event.HAND_EDIT_FOUND]
    assert [message.partition(": ")[0] for message in told] == [
        "Not adopted (found in the macro file), because rejected or revoked before",
        "Removed by hand, and not published until approved or revoked",
    ]
