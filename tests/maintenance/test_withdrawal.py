"""What an authority has enrolled ends with its withdrawal, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from lab.authorities import Signer
from lab.deciding import decide

from eximcertd.errors import UsageError
from eximcertd.publication.ending import end_withdrawn
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from lab.enrolments import Site


def test_a_withdrawal_ends_every_enrolment_and_no_approval_of_a_person(site: Site) -> None:
    site.authorize()
    leaves = [site.signer.issue(f"{number}.example") for number in range(5)]
    site.try_(*leaves)
    decide(site.ledger, Verb.APPROVE, leaves[0].fingerprint)
    assert site.withdraw() == 4
    assert [site.status(leaf) for leaf in leaves] == [Status.APPROVED, *[Status.PENDING] * 4]
    assert site.ledger.publications.wanted() == [leaves[0].fingerprint]
    assert site.try_(leaves[1]) == []
    assert site.names.contents().fingerprints == frozenset()


def test_what_the_queue_has_no_room_for_is_not_forgotten_before_exim_refuses_it(site: Site) -> None:
    site.authorize()
    leaves = [site.signer.issue(f"{number}.example") for number in range(5)]
    site.try_(*leaves, files=False)
    site.ledger.sightings.unmatched_limit = 1
    site.decide_to_withdraw()
    site.ledger.authorities.end([leaf.fingerprint for leaf in leaves])
    for _ in range(2):
        site.try_(Signer("x"), files=False)
        asyncio.run(site.publication.settle())
        assert site.allowed.contents().fingerprints == frozenset()
    assert site.ledger.entries.counts().unmatched == 1


def test_a_withdrawal_in_portions_takes_back_no_decision_of_a_person_meanwhile(site: Site) -> None:
    site.authorize()
    leaves = sorted((site.signer.issue(f"{number}.example") for number in range(7)), key=lambda one: one.fingerprint)
    site.try_(*leaves)
    revision = site.allowed.revision()

    async def at_once() -> int:
        site.decide_to_withdraw()
        ending = asyncio.create_task(end_withdrawn(site.publication, site.ledger, site.allowed, 3))
        await asyncio.sleep(0)  # the files of the first portion are being removed
        decide(site.ledger, Verb.APPROVE, leaves[0].fingerprint, leaves[4].fingerprint)
        await site.publication.settle([leaves[0].fingerprint, leaves[4].fingerprint])
        return await ending

    assert asyncio.run(at_once()) == 5
    assert site.allowed.contents().fingerprints == {leaves[0].fingerprint, leaves[4].fingerprint}
    assert site.allowed.revision() > revision  # a backup of the ledger from before is recognised
    assert not site.ledger.publications.due()


def test_a_withdrawal_that_the_disk_has_stopped_is_finished_by_the_next_round(site: Site) -> None:
    site.authorize()
    site.try_(leaf := site.signer.issue("client7.example"))
    site.decide_to_withdraw()
    assert site.status(leaf) is Status.APPROVED
    site.round()
    assert site.status(leaf) is Status.PENDING
    assert site.allowed.contents().fingerprints == frozenset()


def test_a_withdrawal_while_many_certificates_are_verified_leaves_none_of_them_approved(site: Site) -> None:
    leaves = [site.signer.issue(f"{number}.example", key=site.signer.private) for number in range(201)]
    site.try_(*leaves)
    site.authorize()

    async def at_once() -> None:
        enrolling = asyncio.create_task(site.enrolling.enrol([(leaf.fingerprint, leaf.der, "") for leaf in leaves]))
        await asyncio.sleep(0)  # it begins, and lets others run after some of them
        site.decide_to_withdraw()
        await site.enrolling.end()
        await enrolling

    asyncio.run(at_once())
    assert {site.status(leaf) for leaf in leaves} == {Status.PENDING}


def test_who_decided_on_an_authority_when_and_why_is_kept(site: Site) -> None:
    site.authorize()
    site.withdraw()
    [(_, first), (_, second)] = site.ledger.decisions.history(site.signer.fingerprint)
    assert (first.verb, first.by, first.note) == (Verb.AUTHORIZE, "alice", "our own")
    assert (second.verb, second.by, second.note) == (Verb.WITHDRAW, "alice", "closed")


def test_a_repeated_request_decides_once(site: Site) -> None:
    site.authorize()
    site.authorize()
    assert len(site.ledger.decisions.history(site.signer.fingerprint)) == 1
    with pytest.raises(UsageError, match="another decision"):
        site.withdraw(request="1")
