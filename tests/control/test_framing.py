"""Varlink's framing, and the interface definition that everything is checked against: pure."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eximcertd.control import service
from eximcertd.control.interface import Array, Interface, Maybe, Named, Struct, shipped
from eximcertd.control.protocol import (
    Call,
    ProtocolError,
    Reply,
    decode_call,
    decode_reply,
    encode_call,
    encode_reply,
)
from eximcertd.control.rights import TABLE, Right

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(parameters=st.dictionaries(st.text(), JSON, max_size=4), more=st.booleans(), oneway=st.booleans())
def test_a_call_is_read_as_it_was_written(parameters: dict[str, Any], more: bool, oneway: bool) -> None:
    call = Call("org.example.Ask", parameters, more=more, oneway=oneway)
    raw = encode_call(call)
    assert raw.endswith(b"\0")
    assert raw.count(b"\0") == 1
    assert decode_call(raw[:-1]) == call


@given(
    parameters=st.dictionaries(st.text(), JSON, max_size=4), error=st.sampled_from(["", "a.b.C"]), goes=st.booleans()
)
def test_a_reply_is_read_as_it_was_written(parameters: dict[str, Any], error: str, goes: bool) -> None:
    reply = Reply(parameters, error, continues=goes)
    assert decode_reply(encode_reply(reply)[:-1]) == reply


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_call_or_a_protocol_error(raw: bytes) -> None:
    with suppress(ProtocolError):
        assert isinstance(decode_call(raw), Call)
    with suppress(ProtocolError):
        assert isinstance(decode_reply(raw), Reply)


@given(JSON)
def test_whatever_json_comes_is_a_call_or_a_protocol_error(value: Any) -> None:
    for one in (value, {"method": value}, {"method": "a.B", "parameters": value}, {"method": "a.B", "more": value}):
        with suppress(ProtocolError):
            assert isinstance(decode_call(json.dumps(one).encode()), Call)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"{" * 100_000,
        b"[" * 200_000,
        b'{"method":"a.B","parameters":{"x":' + b"[" * 50_000,
        b'{"method":"a.B","parameters":{"x":' + b"9" * 5_000 + b"}}",
        b'{"method":"a.B","parameters":{"x":NaN}}',
        b'{"method":"a.B","parameters":{"x":"\\ud800"}}',
        b'{"method":"a.B","parameters":[]}',
        b'{"method":"a.B","more":1}',
        b'{"method":"a.B","upgrade":true}',
        b'{"method":"a.B","surprise":true}',
        b'{"method":"\xc3\xa4.B"}',
        b'{"method":"' + b"a" * 256 + b'"}',
        b'{"method":"a.B\xff"}',
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_what_is_no_call_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_call(raw)


def test_a_lone_surrogate_never_leaves_as_one() -> None:
    assert encode_reply(Reply({"name": "a\udc80b"})) == b'{"parameters":{"name":"a?b"}}\0'


def test_the_shipped_interface_and_the_service_interface_are_whole() -> None:
    def names(kind: Any) -> list[str]:
        match kind:
            case Named(name):
                return [name]
            case Maybe(of) | Array(of, _):
                return names(of)
            case Struct(fields):
                return [name for of in fields.values() for name in names(of)]
            case _:
                return []

    for interface in (shipped(), Interface(service.DESCRIPTION)):
        known = set(interface.types) | {"bool", "int", "float", "string", "object"}
        structs = [*interface.errors.values(), *interface.types.values()]
        for method in interface.methods.values():
            structs += [method.inputs, method.outputs]
        assert {name for struct in structs for name in names(struct)} <= known


def test_every_method_has_its_right_and_every_right_its_method() -> None:
    methods = {f"{shipped().name}.{name}" for name in shipped().methods}
    methods |= {f"{service.NAME}.{name}" for name in Interface(service.DESCRIPTION).methods}
    assert set(TABLE) == methods


def test_the_interface_definition_says_the_right_that_the_table_says() -> None:
    for name in shipped().methods:
        comment = shipped().text.split(f"method {name}(")[0].rsplit("\n\n", 1)[1]
        assert f"# Right: {TABLE[f'{shipped().name}.{name}'].value}." in comment
        assert TABLE[f"{shipped().name}.{name}"] is not Right.ANYBODY


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({"verb": "approve", "fingerprints": ["A"], "note": "", "insist": [], "request": "1"}, None),
        ({"verb": "approve", "fingerprints": ["A"], "note": "", "insist": [], "request": "1", "replace": None}, None),
        ({"verb": "approve", "fingerprints": ["A"], "note": "", "insist": [], "request": "1", "replace": 1}, "replace"),
        ({"verb": "forgive", "fingerprints": ["A"], "note": "", "insist": [], "request": "1"}, "verb"),
        ({"verb": "approve", "fingerprints": ["A", 2], "note": "", "insist": [], "request": "1"}, "fingerprints[]"),
        ({"verb": "approve", "fingerprints": "A", "note": "", "insist": [], "request": "1"}, "fingerprints"),
        ({"verb": "approve", "fingerprints": [], "note": None, "insist": [], "request": "1"}, "note"),
        ({"verb": "approve", "fingerprints": [], "note": "", "insist": [], "request": "1", "colour": "red"}, "colour"),
        ({}, "verb"),
    ],
)
def test_parameters_are_checked_against_the_interface(parameters: dict[str, Any], fault: str | None) -> None:
    assert shipped().fault(parameters, shipped().methods["Decide"].inputs) == fault


@given(st.dictionaries(st.sampled_from(["segment", "before", "sightings", "x"]), JSON))
def test_no_value_is_too_odd_to_be_checked(parameters: dict[str, Any]) -> None:
    fault = shipped().fault(parameters, shipped().methods["Record"].inputs)
    assert fault is None or fault.startswith(("segment", "before", "sightings", "x"))


def test_true_is_no_number() -> None:
    assert shipped().fault({"fingerprint": None, "limit": True}, shipped().methods["History"].inputs) == "limit"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "interface",
        "interface a.b type",
        "interface a.b method M(",
        "interface a.b !",
        "interface a.b type M () method M() -> ()",
    ],
)
def test_a_definition_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line \d+ of the interface definition"):
        Interface(text)
