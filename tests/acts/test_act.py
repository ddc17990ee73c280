"""An act has one text, in which every field can be read back, and follows exactly one act."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.acts import FIRST, REQUEST, X, Y

from eximcertd.acts.act import (
    END_OF_TIME,
    LONGEST_DETAIL,
    LONGEST_NOTE,
    MOST_FINGERPRINTS,
    MOST_SETTLED,
    Act,
    ActError,
    Head,
    checked,
    of_json,
    parse,
)
from eximcertd.control.protocol import LARGEST_CALL
from eximcertd.fingerprint import NEVER, Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

DER = b"a certificate"
AUTHORITY = replace(
    FIRST,
    verb="authorize",
    fingerprints=(Fingerprint(hashlib.sha256(DER).hexdigest().upper()),),
    detail=f"{base64.b64encode(DER).decode()} *.example.org *.example.net",
)


def ascending(elements: st.SearchStrategy[str], least: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(elements, min_size=least, max_size=5, unique=True).map(lambda values: tuple(sorted(values)))


FINGERPRINTS = st.binary(min_size=32, max_size=32).map(lambda raw: raw.hex().upper())
ACTS = st.builds(
    Act,
    st.integers(1, (1 << 62) - 1),
    FINGERPRINTS,
    st.sampled_from(["approve", "reject", "revoke"]),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,99}", fullmatch=True),
    st.integers(0, END_OF_TIME - 1),
    st.uuids().map(str),
    ascending(FINGERPRINTS, 1),
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=LONGEST_NOTE),
    ascending(st.uuids().map(str), 0),
)


def changed(act: Act, field: str, value: object) -> Act:
    return Act(**{name: getattr(act, name) for name in act.__slots__} | {field: value})


@given(ACTS)
def test_an_act_is_read_back_from_its_text_and_from_the_sockets_json(act: Act) -> None:
    assert parse(act.text()) == act == of_json(act.to_json())
    assert parse(act.text()).hash() == act.hash() == hashlib.sha256(act.text()).hexdigest().upper()


@given(ACTS, ACTS, st.sampled_from([name for name in FIRST.__slots__ if name != "signature"]))
def test_two_acts_with_one_text_are_one_act(one: Act, another: Act, field: str) -> None:
    other = changed(one, field, getattr(another, field))
    assert (one.text() == other.text()) == (one == other)


@given(ACTS, st.data())
def test_a_text_that_was_changed_is_another_act_or_none(act: Act, data: st.DataObject) -> None:
    text = bytearray(act.text())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = data.draw(st.sampled_from([byte for byte in b"\n\r 09AZaz_\xc3\x00" if byte != text[place]]))
    try:
        assert parse(bytes(text)).hash() != act.hash()
    except ActError:
        return


@given(st.binary(max_size=2000) | ACTS.map(lambda act: act.text()[:-1]))
def test_any_other_text_is_refused(text: bytes) -> None:
    with pytest.raises(ActError):
        parse(text)


@given(
    st.dictionaries(st.sampled_from(list(FIRST.to_json())), st.none() | st.integers() | st.text() | st.lists(st.text()))
)
def test_any_json_is_an_act_or_refused(replaced: dict[str, Any]) -> None:
    try:
        act = of_json(FIRST.to_json() | replaced)
    except ActError:
        return
    assert parse(act.text()) == act


@pytest.mark.parametrize(
    "act", [FIRST, AUTHORITY, replace(AUTHORITY, verb="withdraw", detail="")], ids=lambda act: act.verb
)
def test_every_verb_has_its_valid_act(act: Act) -> None:
    assert parse(act.text()) == act


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("generation", 0),
        ("generation", 1 << 62),
        ("at", -1),
        ("at", END_OF_TIME),
        ("previous", "0" * 63),
        ("previous", "a" * 64),
        ("verb", "adopt"),
        ("verb", "see"),
        ("by", ""),
        ("by", "-f"),
        ("by", "al ice"),
        ("by", "ålice"),
        ("request", "1"),
        ("request", REQUEST.upper().replace("0", "A")),
        ("note", "x" * (LONGEST_NOTE + 1)),
        ("note", "two\nlines"),
        ("note", "\x1b[31m"),
        ("note", "\x85"),
        ("note", "\u2028"),
        ("note", "\ud800"),
        ("settles", (REQUEST, REQUEST)),
        ("settles", ("x",)),
        ("settles", tuple(f"{n:08x}{REQUEST[8:]}" for n in range(MOST_SETTLED + 1))),
        ("fingerprints", ()),
        ("fingerprints", (Y, X)),
        ("fingerprints", (X, X)),
        ("fingerprints", (X.lower() + "A",)),
        ("fingerprints", tuple(f"{n:064X}" for n in range(MOST_FINGERPRINTS + 1))),
        ("detail", "more"),
        ("signature", "no base64"),
        ("signature", "A" * (16 << 10) + "A"),
    ],
)
def test_a_field_that_is_not_valid_is_named(field: str, wrong: object) -> None:
    with pytest.raises(ActError, match=f"is malformed: {field}"):
        checked(changed(FIRST, field, wrong))


@pytest.mark.parametrize(
    "detail",
    [
        "",
        " ",
        "?",
        base64.b64encode(b"another").decode(),
        AUTHORITY.detail + " ",
        AUTHORITY.detail.replace(" ", "  "),
        AUTHORITY.detail.replace("*", "ä"),
        AUTHORITY.detail + " x" * (LONGEST_DETAIL // 2),
    ],
    ids=["none", "blank", "bare", "of another", "trailing", "two blanks", "letters", "long"],
)
def test_an_authority_comes_with_the_certificate_that_has_its_fingerprint(detail: str) -> None:
    with pytest.raises(ActError, match="is malformed: detail"):
        checked(replace(AUTHORITY, detail=detail))


def test_an_authority_is_one_alone() -> None:
    with pytest.raises(ActError, match=r"is malformed: .*fingerprints"):
        checked(replace(AUTHORITY, verb="withdraw", detail="", fingerprints=(X, Y)))


@pytest.mark.parametrize("never", NEVER)
def test_what_is_never_approved_is_not_approved_by_an_act(never: Fingerprint) -> None:
    with pytest.raises(ActError, match="which is never approved"):
        checked(replace(FIRST, fingerprints=(never,)))
    checked(replace(FIRST, verb="reject", fingerprints=(never,)))


def test_the_largest_act_fits_into_a_call_of_the_control_socket() -> None:
    largest = replace(
        FIRST,
        generation=(1 << 62) - 1,
        note="\U0001f600" * LONGEST_NOTE,
        settles=tuple(f"{n:08x}{REQUEST[8:]}" for n in range(MOST_SETTLED)),
        fingerprints=tuple(Fingerprint(f"{n:064X}") for n in range(MOST_FINGERPRINTS)),
        signature="A" * (16 << 10),
    )
    assert len(json.dumps(checked(largest).to_json())) < LARGEST_CALL - 1000


def chained(*acts: Act) -> list[Act]:
    head, made = Head(), []
    for act in acts:
        made.append(replace(act, generation=head.generation + 1, previous=head.hash))
        head = head.followed_by(made[-1])
    return made


@given(st.lists(ACTS, min_size=3, max_size=5))
def test_a_chain_is_followed_from_its_first_act_to_its_last(acts: list[Act]) -> None:
    chain = chained(*acts)
    assert reduce(Head.followed_by, chain, Head()) == Head(len(acts), chain[-1].hash())


@given(
    st.lists(ACTS, min_size=3, max_size=5),
    st.sampled_from(
        [
            lambda chain: chain[1:],  # an act is missing at the beginning
            lambda chain: [chain[0], *chain[2:]],  # in the middle
            lambda chain: [chain[0], chain[0], *chain[1:]],  # there twice
            lambda chain: [chain[0], chain[2], chain[1]],  # in another order
            lambda chain: [replace(chain[0], at=chain[0].at ^ 1), *chain[1:]],  # changed
            lambda chain: [chain[0], replace(chain[1], by="mallory"), *chain[2:]],
        ]
    ),
)
def test_a_chain_in_which_anything_was_changed_is_broken(
    acts: list[Act], change: Callable[[list[Act]], list[Act]]
) -> None:
    with pytest.raises(ActError, match="the chain is broken"):
        reduce(Head.followed_by, change(chained(*acts)), Head())
