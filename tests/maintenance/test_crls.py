"""The CRL of an authority revokes what is on it, and stops enrolment if it cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.authorities import NOW, Signer
from lab.certificates import DAY

from eximcertd.events import Event
from eximcertd.status import Status

if TYPE_CHECKING:
    from lab.enrolments import Site


def test_what_comes_onto_the_crl_is_revoked_when_the_file_changes(site: Site) -> None:
    file = site.directory / "crl.pem"
    file.write_bytes(site.signer.crl())
    site.authorize(crl=str(file))
    good, gone = site.signer.issue("good.example"), site.signer.issue("gone.example")
    site.try_(good, gone)
    assert site.round() == []
    file.write_bytes(site.signer.crl([gone]))
    assert site.round() == [gone.fingerprint]
    assert (site.status(good), site.status(gone)) == (Status.APPROVED, Status.REVOKED)
    assert site.try_(gone) == []
    file.write_bytes(site.signer.crl())  # a later CRL without it, as when it has expired
    assert site.round() == site.try_(gone) == []
    assert site.status(gone) is Status.REVOKED
    assert site.ledger.authorities.counts() == {site.signer.fingerprint: 1}


def test_an_authority_without_a_crl_leaves_the_crl_of_the_next_one_in_force(site: Site) -> None:
    file = site.directory / "crl.pem"
    without, signer = sorted((Signer("One CA"), Signer("Other CA")), key=lambda one: one.fingerprint)
    file.write_bytes(signer.crl())
    site.authorize(without)
    site.authorize(signer, crl=str(file), request="2")
    site.try_(gone := signer.issue("gone.example"))
    file.write_bytes(signer.crl([gone]))
    assert site.round() == [gone.fingerprint]


def test_a_crl_that_an_authority_gets_back_counts_for_what_was_enrolled_without_it(site: Site) -> None:
    file = site.directory / "crl.pem"
    gone = site.signer.issue("gone.example")
    file.write_bytes(site.signer.crl([gone]))
    site.authorize(crl=str(file))
    assert site.round() == site.try_(gone) == []
    site.authorize(request="2")
    assert site.try_(gone) == [gone.fingerprint]
    assert site.round() == []
    site.authorize(crl=str(file), request="3")
    assert site.round() == [gone.fingerprint]


@pytest.mark.parametrize("harm", ["missing", "garbage", "overdue", "another's"])
def test_a_crl_that_cannot_be_used_stops_enrolment_is_told_once_and_takes_nothing_away(site: Site, harm: str) -> None:
    file = site.directory / "crl.pem"
    file.write_bytes(site.signer.crl())
    site.authorize(crl=str(file))
    site.try_(before := site.signer.issue("before.example"))
    site.round()
    if harm == "missing":
        file.unlink()
    else:
        overdue = site.signer.crl(next_update=NOW - DAY)
        file.write_bytes({"garbage": b"x", "overdue": overdue, "another's": Signer("Site CA").crl()}[harm])
    assert site.try_(later := site.signer.issue("later.example")) == []
    site.round()
    site.round()
    assert site.records.events().count(Event.AUTHORITY_PROBLEM) == 1
    assert site.status(before) is Status.APPROVED
    file.write_bytes(site.signer.crl())
    assert site.try_(later) == [later.fingerprint]
    site.round()
    assert site.records.events()[-1] is Event.AUTHORITY_BACK
