"""A new certificate with the key or the name of an approved one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lab.certificates import make, make_ca, new_key

from eximcertd.certificates.parsing import parse
from eximcertd.certificates.renewal import Approvals, Approved

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_certificate_with_the_key_of_an_approved_one_renews_it(tmp_path: Path) -> None:
    key = new_key("ec")
    old = parse(make(tmp_path, "laptop.example", key=key).der)
    new = parse(make(tmp_path, "renamed.example", key=key).der)
    renewal = Approvals([Approved.of(old, "root", AT)]).followed_by(new)
    assert renewal is not None
    assert renewal.same_key
    assert str(renewal) == f"renews {old.fingerprint[:16]}, same key (approved by root on 2026-01-02)"
    assert renewal.as_json() == {
        "fingerprint": old.fingerprint,
        "same_key": True,
        "by": "root",
        "at": "2026-01-02T03:04:05Z",
    }


def test_the_same_name_with_another_key_is_said_loudly(tmp_path: Path) -> None:
    old, new = (parse(make(tmp_path, "laptop.example", stem=stem).der) for stem in ("old", "new"))
    renewal = Approvals([Approved.of(old, "ro\x1bot", AT)]).followed_by(new)
    assert renewal is not None
    assert not renewal.same_key
    assert str(renewal) == f"same name as {old.fingerprint[:16]}, NEW key (approved by ro\\x1bot on 2026-01-02)"


def test_the_same_subject_from_another_issuer_is_no_renewal(tmp_path: Path) -> None:
    old = parse(make(tmp_path, "laptop.example", issuer=make_ca(tmp_path, "One CA"), stem="old").der)
    new = parse(make(tmp_path, "laptop.example", issuer=make_ca(tmp_path, "Other CA"), stem="new").der)
    assert Approvals([Approved.of(old, "root", AT)]).followed_by(new) is None


def test_the_key_counts_before_the_name_and_the_latest_approval_first(tmp_path: Path) -> None:
    key = new_key("ec")
    named = parse(make(tmp_path, "laptop.example", stem="named").der)
    first, second = (parse(make(tmp_path, f"{n}.example", key=key).der) for n in ("first", "second"))
    new = parse(make(tmp_path, "laptop.example", key=key, stem="new").der)
    approved = [
        Approved.of(second, "root", AT + timedelta(days=1)),
        Approved.of(first, "root", AT),
        Approved.of(named, "root", AT + timedelta(days=2)),
    ]
    renewal = Approvals(approved).followed_by(new)
    assert renewal is not None
    assert renewal.of.fingerprint == second.fingerprint


def test_an_approved_certificate_renews_nothing(tmp_path: Path) -> None:
    key = new_key("ec")
    one, two = (parse(make(tmp_path, f"{n}.example", key=key).der) for n in ("one", "two"))
    approvals = Approvals([Approved.of(one, "root", AT), Approved.of(two, "root", AT)])
    assert approvals.followed_by(one) is None
    assert approvals.followed_by(two) is None


def test_certificates_without_a_name_or_a_readable_key_are_not_alike(tmp_path: Path) -> None:
    one, two = (
        replace(parse(make(tmp_path, f"{n}.example").der), subject="", issuer="", spki="") for n in ("one", "two")
    )
    assert Approvals([Approved.of(one, "root", AT)]).followed_by(two) is None
