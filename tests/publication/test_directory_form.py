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

from lab.publication_parts import ONE, THREE, TWO, PublicationParts


def test_a_lost_ledger_is_rebuilt_from_the_directory_in_the_directory_form(parts: PublicationParts) -> None:
    parts.allowlist = Allowlist(form="directory")
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    parts.lose_ledger()
    assert parts.start()
    assert parts.ledger.publications.wanted() == [ONE, TWO]
    assert parts.directory.contents().fingerprints == {ONE, TWO}


def test_in_the_directory_form_a_decision_needs_no_publisher(parts: PublicationParts) -> None:
    parts.allowlist = Allowlist(form="directory")

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        parts.publisher.asked.clear()
        parts.decide(Verb.APPROVE, ONE)
        state = await publication.settle()
        assert state.outcome == "live"
        assert publication.live
        assert not parts.publisher.asked

    asyncio.run(run())
    assert parts.directory.contents().fingerprints == {ONE}


def test_auto_changes_its_form_at_the_limit_and_the_directory_is_never_emptied(parts: PublicationParts) -> None:
    parts.allowlist = Allowlist(form="auto", list_limit=2)
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    assert parts.publisher.form == "list"
    parts.decide(Verb.APPROVE, THREE)
    assert parts.start()
    assert parts.publisher.form == "directory"
    parts.decide(Verb.REVOKE, TWO, THREE)
    assert parts.start()
    assert parts.publisher.form == "list"
    assert parts.publisher.loaded == {ONE}
    assert parts.directory.contents().fingerprints == {ONE}


def test_files_of_nobody_are_removed_but_never_many_of_them_without_a_person(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)
    parts.start()
    parts.directory.change([TWO], [])
    parts.start()
    assert parts.directory.contents().fingerprints == {ONE}
    many = [Fingerprint(f"{n:064X}") for n in range(100, 200)]
    parts.directory.change(many, [])
    parts.start()
    assert len(parts.directory.contents().fingerprints) == 101
    assert any("approve or revoke them" in message for _, message, _ in parts.records.kept)


def test_files_of_revoked_certificates_are_removed_however_many(parts: PublicationParts) -> None:
    many = [Fingerprint(f"{n:064X}") for n in range(100, 200)]
    parts.decide(Verb.APPROVE, ONE, *many)
    parts.start()
    parts.decide(Verb.REVOKE, *many)
    parts.start()
    parts.directory.change(many, [])  # an old directory, put back
    parts.start()
    assert parts.directory.contents().fingerprints == {ONE}


def test_the_directory_form_is_not_taken_over_many_files_of_nobody(parts: PublicationParts) -> None:
    parts.decide(Verb.APPROVE, ONE)
    parts.start()
    parts.directory.change([Fingerprint(f"{n:064X}") for n in range(100, 200)], [])
    parts.allowlist = Allowlist(form="directory")
    parts.start()
    assert parts.publisher.form == "list"
    failed = [message for event, message, _ in parts.records.kept if event is Event.PUBLICATION_FAILED]
    assert "100 unknown fingerprints in the directory: approve or revoke them" in failed[-1]


def test_a_revocation_that_is_asked_for_again_takes_its_file_away_again(parts: PublicationParts) -> None:
    parts.allowlist = Allowlist(form="directory")
    parts.decide(Verb.APPROVE, ONE, TWO)

    async def run() -> None:
        publication = parts.publication()
        await publication.start()
        parts.decide(Verb.REVOKE, ONE)
        await publication.settle([ONE])
        parts.directory.change([ONE], [])  # somebody put it back
        await publication.settle([ONE])

    asyncio.run(run())
    assert parts.directory.contents().fingerprints == {TWO}


def test_a_directory_that_cannot_be_used_does_not_keep_the_list_form_from_working(parts: PublicationParts) -> None:
    parts.start()
    parts.directory.path.rmdir()
    parts.decide(Verb.APPROVE, ONE)

    async def run() -> bool:
        publication = parts.publication()
        await publication.start()
        await publication.settle()
        return publication.live

    assert asyncio.run(run())
    assert parts.publisher.loaded == {ONE}


def backup(parts: PublicationParts) -> Path:
    """Copy the ledger, as the manual recommends."""
    copy = parts.state / "backup"
    shutil.copytree(parts.state / "ledger", copy)
    return copy


def put_back(parts: PublicationParts, copy: Path) -> None:
    parts.ledger.close()
    shutil.rmtree(parts.state / "ledger")
    shutil.copytree(copy, parts.state / "ledger")
    parts.ledger = Ledger(parts.state / "ledger")


def test_an_old_ledger_in_the_directory_form_restores_nobody_locks_out_nobody_and_says_what_to_settle(
    parts: PublicationParts,
) -> None:
    parts.allowlist = Allowlist(form="directory")
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    copy = backup(parts)
    parts.decide(Verb.REVOKE, ONE)
    parts.decide(Verb.APPROVE, THREE)
    parts.start()
    put_back(parts, copy)
    assert parts.start()
    assert parts.directory.contents().fingerprints == {TWO, THREE}
    assert parts.ledger.decisions.withheld() == [ONE]
    assert parts.standing(THREE) is Status.APPROVED
    assert any("older than what was published" in message for _, message, _ in parts.records.kept)
    parts.decide(Verb.APPROVE, ONE)  # a person settles it
    assert parts.start()
    assert parts.directory.contents().fingerprints == {ONE, TWO, THREE}


def test_an_old_ledger_locks_out_nobody_whom_it_knows_as_revoked_until_a_person_settles_it(
    parts: PublicationParts,
) -> None:
    parts.allowlist = Allowlist(form="directory")
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    parts.decide(Verb.REVOKE, ONE)
    parts.start()
    copy = backup(parts)
    parts.decide(Verb.APPROVE, ONE)
    parts.start()
    put_back(parts, copy)
    for _ in range(2):
        parts.start()
        assert parts.directory.contents().fingerprints == {ONE, TWO}

    async def revoke() -> int:
        publication = parts.publication()
        await publication.start()
        await publication.reconcile()
        unknown = publication.unknown_files
        parts.decide(Verb.REVOKE, ONE)
        await publication.settle([ONE])
        return unknown

    assert asyncio.run(revoke()) == 1
    assert parts.directory.contents().fingerprints == {TWO}


def test_an_old_ledger_makes_no_file_while_root_part_cannot_be_reached(parts: PublicationParts) -> None:
    parts.allowlist = Allowlist(form="directory")
    parts.decide(Verb.APPROVE, ONE, TWO)
    parts.start()
    copy = backup(parts)
    parts.decide(Verb.REVOKE, ONE)
    parts.start()
    put_back(parts, copy)
    parts.publisher.down = True
    parts.start()
    assert parts.directory.contents().fingerprints == {TWO}


@pytest.mark.parametrize(("unknown", "left"), [(20, 0), (21, 21)])
def test_twenty_unknown_files_are_removed_and_named_and_more_are_left(
    parts: PublicationParts, unknown: int, left: int
) -> None:
    parts.start()
    many = [Fingerprint(f"{n:064X}") for n in range(100, 100 + unknown)]
    parts.directory.change(many, [])
    parts.start()
    assert len(parts.directory.contents().fingerprints) == left
    [told] = [message for event, message, _ in parts.records.kept if event is Event.MANUAL_EDIT_FOUND]
    assert f"0 rejected or revoked, removed; {unknown} unknown, {'kept: approve' if left else 'removed: '}" in told
    assert told.endswith(f" and {unknown - 10} more")
