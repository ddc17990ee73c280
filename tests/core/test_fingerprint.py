"""Fingerprints are taken however they are typed, and have one spelling."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eximcertd.fingerprint import (
    NEVER,
    Fingerprint,
    FingerprintError,
    grouped,
    is_exact,
    of_der,
    parse,
    parse_prefix,
)

DIGITS = st.text("0123456789ABCDEF", min_size=64, max_size=64).map(Fingerprint)


@given(DIGITS)
def test_every_usual_spelling_is_the_same_fingerprint(digits: Fingerprint) -> None:
    colons = ":".join(digits[i : i + 2] for i in range(0, 64, 2))
    assert {parse(text) for text in (digits, digits.lower(), colons, colons.lower(), grouped(digits))} == {digits}


@given(DIGITS, st.integers(8, 64))
def test_a_prefix_of_eight_digits_or_more_is_taken(digits: Fingerprint, length: int) -> None:
    assert parse_prefix(grouped(digits[:length]).lower()) == digits[:length]


@pytest.mark.parametrize("text", ["", "58CD37D", "58CD37DG", "58CD37DA;", "A" * 65, "\uff15\uff18CD37DA"])
def test_what_is_no_prefix_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(FingerprintError, match=r"fingerprint|hex digits"):
        parse_prefix(text)


@given(st.text(max_size=70))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    with contextlib.suppress(FingerprintError):
        assert is_exact(parse(text))


def test_it_is_what_exim_computes() -> None:
    assert of_der(b"tls_in_peercert") in NEVER
    assert of_der(b"") in NEVER
    assert of_der(b"x") == hashlib.sha256(b"x").hexdigest().upper()


@given(DIGITS)
def test_lower_case_never_counts_as_exact(digits: Fingerprint) -> None:
    assert is_exact(digits)
    assert digits.isdigit() or not is_exact(digits.lower())
    assert not is_exact(digits + "\n")
