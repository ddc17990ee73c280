"""Each rule says why it refuses and which option insists, and rules compose."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make, make_ca

from eximcertd.certificates.parsing import parse
from eximcertd.decisions.rules import (
    CA,
    EXPIRED,
    FOR_IMPORTS,
    FOR_PERSONS,
    WITHOUT_CERTIFICATE,
    All,
    Case,
    HasCertificate,
    NotAuthority,
    NotExpired,
    Unless,
)
from eximcertd.ledger.decisions import Decision
from eximcertd.status import Refusal, Status, Verb

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

NOW = datetime.now(UTC)


def case(who: Identity, verb: Verb = Verb.APPROVE, status: Status = Status.PENDING) -> Case:
    certificate = parse(who.der)
    decision = Decision(who.fingerprint, verb, "alice", int(NOW.timestamp() * 1000))
    return Case(decision, status, NOW, certificate)


def option(refusal: Refusal | None) -> str | None:
    return None if refusal is None else refusal.option


def test_a_certificate_that_is_not_known_is_refused_unless_insisted_on(tmp_path: Path) -> None:
    of = replace(case(make(tmp_path, "laptop.example")), certificate=None)
    refusal = FOR_PERSONS.refusal(of)
    assert refusal is not None
    assert refusal.option == WITHOUT_CERTIFICATE
    assert refusal.sentence.endswith("--without-certificate overrides this")
    assert FOR_PERSONS.refusal(replace(of, insist=frozenset({WITHOUT_CERTIFICATE}))) is None
    assert FOR_PERSONS.refusal(replace(of, insist=frozenset({EXPIRED, CA}))) is not None


def test_an_expired_certificate_is_refused_from_the_second_after_its_end(tmp_path: Path) -> None:
    of = case(make(tmp_path, "old.example", not_after=NOW.replace(microsecond=0)))
    assert of.certificate is not None
    assert of.certificate.not_after is not None
    assert NotExpired().refusal(replace(of, now=of.certificate.not_after)) is None
    over = replace(of, now=of.certificate.not_after + timedelta(seconds=1))
    assert option(FOR_PERSONS.refusal(over)) == EXPIRED
    assert FOR_PERSONS.refusal(replace(over, insist=frozenset({EXPIRED}))) is None


def test_a_self_signed_certificate_that_says_ca_true_needs_no_option(tmp_path: Path) -> None:
    assert FOR_PERSONS.refusal(case(make_ca(tmp_path))) is None


def test_a_ca_that_has_issued_others_or_is_a_public_one_is_refused(tmp_path: Path) -> None:
    of = case(make_ca(tmp_path))
    assert of.certificate is not None
    public = replace(of, certificate=replace(of.certificate, public=True))
    for refused in (replace(of, has_issued=True), public):
        assert option(FOR_PERSONS.refusal(refused)) == CA
        assert FOR_PERSONS.refusal(replace(refused, insist=frozenset({CA}))) is None


def test_the_rules_of_a_certificate_concern_only_what_is_newly_approved(tmp_path: Path) -> None:
    unknown = replace(case(make(tmp_path, "laptop.example"), status=Status.APPROVED), certificate=None)
    assert FOR_PERSONS.refusal(unknown) is None
    rejection = replace(unknown, decision=replace(unknown.decision, verb=Verb.REJECT), status=Status.PENDING)
    assert FOR_PERSONS.refusal(rejection) is None


@pytest.mark.parametrize("verb", [Verb.REJECT, Verb.REVOKE])
@pytest.mark.parametrize("status", list(Status))
def test_an_imported_rejection_or_revocation_counts_whatever_the_status(
    tmp_path: Path, verb: Verb, status: Status
) -> None:
    assert FOR_IMPORTS.refusal(case(make(tmp_path, "laptop.example"), verb, status)) is None


def test_the_first_rule_that_refuses_speaks(tmp_path: Path) -> None:
    of = replace(case(make(tmp_path, "laptop.example")), certificate=None)
    both = All((Unless("a", HasCertificate()), Unless("b", HasCertificate()), NotAuthority()))
    assert option(both.refusal(of)) == "a"
    assert option(both.refusal(replace(of, insist=frozenset({"a"})))) == "b"
    assert both.refusal(replace(of, insist=frozenset({"a", "b"}))) is None
