"""Strangers' text, made safe to show."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eximcertd.text import clean, columns, shown

anything = st.text(st.characters(), max_size=200)
nasty = st.text(
    st.sampled_from("a\x1b[31m\n\r\t\x00\x7f\x85\x9b\u200e\u202e\u2066\ufeff\ud800\u0301\u3164\U000e0041漢é ")
)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("laptop.alice.example", "laptop.alice.example"),
        ("Müller, 漢字", "Müller, 漢字"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("moc.live\u202eexample", "moc.live\\u202eexample"),
        ("\u2066isolated\u2069", "\\u2066isolated\\u2069"),
        ("C1 \x9b31m", "C1 \\x9b31m"),
        ("half \ud800 pair", "half \\ud800 pair"),
        ("tag \U000e0041", "tag \\U000e0041"),
        ("no\xa0break", "no\\xa0break"),
        ("filler \u3164", "filler \\u3164"),
        ("e\u0301", "e\u0301"),
        ("e" + "\u0301" * 4, "e\u0301\u0301\\u0301\\u0301"),
        ("\u0301first", "\\u0301first"),
    ],
)
def test_what_does_not_print_is_shown_escaped_and_the_rest_as_it_is(text: str, safe: str) -> None:
    assert clean(text) == safe


@given(anything | nasty)
def test_clean_text_is_printable_utf_8_on_one_line_and_stays_as_it_is(text: str) -> None:
    safe = clean(text)
    assert safe.isprintable()
    assert len(safe.splitlines()) <= 1
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in safe)
    assert json.loads(json.dumps(safe, ensure_ascii=False).encode().decode()) == safe
    assert clean(safe) == safe


@given(anything | nasty, st.integers(1, 40))
def test_shown_text_fits_its_width_and_begins_as_the_whole(text: str, width: int) -> None:
    cut = shown(text, width)
    assert columns(cut) <= width
    if columns(text) <= width:
        assert cut == clean(text)
    else:
        assert cut.endswith("…")
        assert clean(text).startswith(cut[:-1])


def test_a_wide_character_is_not_cut_in_two() -> None:
    assert shown("漢字漢字", 5) == "漢字…"
    assert shown("漢字漢字", 4) == "漢…"


def test_an_escape_is_not_cut_in_two() -> None:
    assert shown("ab\x1bcd", 5) == "ab…"


def test_without_a_width_nothing_is_cut() -> None:
    assert shown("x" * 500) == "x" * 500
