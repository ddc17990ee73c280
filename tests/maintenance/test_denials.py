"""A client that was rejected or revoked does not come back with another certificate of its authority."""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
from lab.authorities import Signer, name_of
from lab.deciding import decide
from lab.strace import kill_points, run_traced

from eximcertd.certificates.parsing import parse
from eximcertd.ledger import Ledger
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from lab.enrolments import Site


def test_a_revoked_client_does_not_come_back_with_its_next_certificate(site: Site) -> None:
    site.authorize()
    first = site.signer.issue("client7.example")
    site.try_(first)
    bound = site.enrolling.bind(first.fingerprint, None, None, "")
    assert {one.kind for one in bound} == {"subject", "name", "key"}
    decide(site.ledger, Verb.REVOKE, first.fingerprint)
    site.ledger.close()
    site.open()
    same_name = site.signer.issue("client7.example")
    same_key = site.signer.issue("other.example", key=first.private)
    assert site.try_(first, same_name, same_key, other := site.signer.issue("else.example")) == [other.fingerprint]
    decide(site.ledger, Verb.APPROVE, first.fingerprint)
    assert site.try_(same_name) == [same_name.fingerprint]


def test_a_revocation_ends_the_other_certificates_of_the_same_client(site: Site) -> None:
    site.authorize()
    first, same_name = site.signer.issue("client7.example"), site.signer.issue("client7.example", subject=name_of("x"))
    same_key = site.signer.issue("other.example", key=first.private)
    same_subject = site.signer.issue("else.example", subject=first.subject)
    site.try_(first, same_name, same_key, same_subject)
    bound = site.enrolling.bind(first.fingerprint, None, None, "")
    decide(site.ledger, Verb.REVOKE, first.fingerprint)
    others = asyncio.run(site.enrolling.revoke_others(bound))
    assert sorted(others) == sorted([same_name.fingerprint, same_key.fingerprint])
    assert (site.status(same_name), site.status(same_subject)) == (Status.REVOKED, Status.APPROVED)


def test_a_revocation_ends_what_has_the_subject_of_a_certificate_without_other_names(site: Site) -> None:
    site.authorize()
    first, second = (site.signer.issue("x", subject=name_of("ZOË"), names=[]) for _ in range(2))
    site.try_(first, second)
    bound = site.enrolling.bind(first.fingerprint, None, None, "name")
    decide(site.ledger, Verb.REVOKE, first.fingerprint)
    assert asyncio.run(site.enrolling.revoke_others(bound)) == [second.fingerprint]


def test_a_revocation_that_is_killed_at_any_system_call_ends_the_other_certificates_later(site: Site) -> None:
    site.authorize()

    def clients() -> tuple[Signer, Signer]:
        first, second = (site.signer.issue("client7.example") for _ in range(2))
        site.try_(first, second)
        assert site.status(first) is site.status(second) is Status.APPROVED
        site.ledger.close()
        return first, second

    def revoke(first: Signer) -> None:
        site.open()
        bound = site.enrolling.bind(first.fingerprint, None, None, "name")
        decide(site.ledger, Verb.REVOKE, first.fingerprint)
        asyncio.run(site.enrolling.revoke_others(bound))
        site.ledger.close()

    def after(first: Signer, second: Signer) -> tuple[Status, Status]:
        """Return how both are after the next start's round; approve the client again."""
        site.open()
        site.round()
        found = site.status(first), site.status(second)
        assert site.ledger.denials.unfinished() == []
        decide(site.ledger, Verb.APPROVE, first.fingerprint)
        return found

    first, second = clients()
    calls, _ = run_traced(partial(revoke, first))
    assert after(first, second) == (Status.REVOKED, Status.REVOKED)
    between = 0
    for call in kill_points(calls):
        first, second = clients()
        run_traced(partial(revoke, first), kill_at=call)
        with closing(Ledger(site.directory / "ledger")) as ledger:
            between += [ledger.entries.get(one.fingerprint).status for one in (first, second)] == [
                Status.REVOKED,
                Status.APPROVED,
            ]
        assert len(set(after(first, second))) == 1, call
    assert between


def test_a_revocation_that_has_come_to_its_end_is_not_looked_at_again(site: Site) -> None:
    site.authorize()
    first, second = (site.signer.issue("client7.example") for _ in range(2))
    site.try_(first, second)
    bound = site.enrolling.bind(first.fingerprint, None, None, "name")
    decide(site.ledger, Verb.REVOKE, first.fingerprint)
    assert set(site.ledger.denials.unfinished()) == set(bound)
    asyncio.run(site.enrolling.revoke_others(bound))
    assert site.ledger.denials.unfinished() == []


@pytest.mark.parametrize(("what", "refused"), [("name", "name"), ("key", "key"), ("certificate", "")])
def test_a_denial_binds_what_was_asked_for(site: Site, what: str, refused: str) -> None:
    site.authorize()
    first = site.signer.issue("client7.example")
    site.try_(first)
    site.enrolling.bind(first.fingerprint, None, None, what)
    decide(site.ledger, Verb.REVOKE, first.fingerprint)
    later = {
        "name": site.signer.issue("client7.example"),
        "key": site.signer.issue("other.example", key=first.private),
    }
    for kind, leaf in later.items():
        assert (site.try_(leaf) == []) == (kind == refused)


def test_a_strangers_certificate_binds_no_name_of_an_honest_client(site: Site) -> None:
    site.authorize()
    stranger = Signer("Another CA").issue("client7.example")
    site.try_(stranger)
    assert site.enrolling.bind(stranger.fingerprint, parse(stranger.der), stranger.der, "") == []
    decide(site.ledger, Verb.REJECT, stranger.fingerprint)
    assert site.try_(honest := site.signer.issue("client7.example")) == [honest.fingerprint]


@pytest.mark.parametrize("why", ["its CRL cannot be read", "its name is outside the patterns"])
def test_a_client_that_was_rejected_while_its_authority_enrolled_none_stays_refused(site: Site, why: str) -> None:
    crl, patterns = (str(site.directory / "missing"), ()) if "CRL" in why else ("", ("*.other.example",))
    site.authorize(None, *patterns, crl=crl)
    first = site.signer.issue("client7.example")
    assert site.try_(first) == []
    site.enrolling.bind(first.fingerprint, parse(first.der), first.der, "")
    decide(site.ledger, Verb.REJECT, first.fingerprint)
    site.authorize(request="2")
    assert site.try_(site.signer.issue("client7.example")) == []
