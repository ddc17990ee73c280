"""The directory of fingerprints is kept in step with the ledger, and a ledger that is older than it harms nobody."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.settings import AllowlistSettings as Allowlist
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from pathlib import Path

from lab.house import ONE, THREE, TWO, House


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


@pytest.mark.parametrize(("unknown", "left"), [(20, 0), (21, 21)])
def test_twenty_unknown_files_are_removed_and_named_and_more_are_left(house: House, unknown: int, left: int) -> None:
    house.start()
    many = [Fingerprint(f"{n:064X}") for n in range(100, 100 + unknown)]
    house.directory.change(many, [])
    house.start()
    assert len(house.directory.contents().fingerprints) == left
    [told] = [message for event, message, _ in house.records.kept if event is Event.MANUAL_EDIT_FOUND]
    assert f"0 rejected or revoked, removed; {unknown} unknown, {'kept: approve' if left else 'removed: '}" in told
    assert told.endswith(f" and {unknown - 10} more")
