"""The wire format of requests and answers: every byte of a request is checked, and odd ones are refused whole."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eximcertd.fingerprint import NEVER, Fingerprint
from eximcertd.publish.old_request import (
    OUTCOMES,
    Answer,
    Found,
    Request,
    RequestError,
    decode,
    decode_answer,
    encode,
    encode_answer,
)

A, B = Fingerprint("0A" * 32), Fingerprint("0B" * 32)
DIGEST = "5f" * 32

fingerprints = st.lists(
    st.binary(min_size=32, max_size=32).map(lambda raw: Fingerprint(raw.hex().upper())), max_size=8, unique=True
).map(lambda found: tuple(sorted(set(found) - set(NEVER))))
standings = st.one_of(st.none(), st.just("-"), st.just(DIGEST))
requests = st.one_of(
    st.builds(Request, st.just("list"), fingerprints, standings),
    st.builds(Request, st.just("directory"), st.just(()), standings),
    st.builds(Request, st.none(), st.just(()), standings),
)


@given(requests)
def test_a_request_comes_back_as_it_was_sent(request: Request) -> None:
    assert decode(encode(request)) == request


@given(requests, st.data())
def test_a_request_that_was_cut_off_anywhere_is_refused(request: Request, data: st.DataObject) -> None:
    raw = encode(request)
    with pytest.raises(RequestError):
        decode(raw[: data.draw(st.integers(0, len(raw) - 1))])


@given(requests, st.data())
def test_a_byte_changed_never_goes_unnoticed(request: Request, data: st.DataObject) -> None:
    raw = bytearray(encode(request))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    with contextlib.suppress(RequestError):
        assert decode(bytes(raw)) != request


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_and_raise_nothing_else(raw: bytes) -> None:
    with pytest.raises(RequestError):
        decode(raw)


def wire(*lines: str | bytes) -> bytes:
    return b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)


FIRST = "eximcertd-publish 1"


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "whole line"),
        (b"\n", "line 1"),
        (b"end\n", "line 1"),
        (wire("eximcertd-publish 2", "verify", "end"), "line 1"),
        (wire(FIRST, "end"), "asks for nothing"),
        (wire(FIRST, "verify"), "cut off"),
        (wire(FIRST, "reload", "end"), "line 2 is none of"),
        (wire(FIRST, "form tree", "count 0", "end"), "line 2 is none of"),
        (wire(FIRST, "verify", "count 0", "end"), "line 3: nothing but"),
        (wire(FIRST, "verify", "standing " + DIGEST.upper(), "end"), "no digest"),
        (wire(FIRST, "verify", "standing ", "end"), "no digest"),
        (wire(FIRST, "form list", "end"), "line 3 is no 'count N'"),
        (wire(FIRST, "form list", "count 01", A, "end"), "is no 'count N'"),
        (wire(FIRST, "form list", "count -1", "end"), "is no 'count N'"),
        (wire(FIRST, "form list", "count 99999999", "end"), "is no 'count N'"),
        (wire(FIRST, "form list", "count 2", A, "end"), "2 fingerprints are announced and 1 follow"),
        (wire(FIRST, "form list", "count 1", A, B, "end"), "1 fingerprints are announced and 2 follow"),
        (wire(FIRST, "form list", "count 2", B, A, "end"), "not ascending"),
        (wire(FIRST, "form list", "count 2", A, A, "end"), "stands twice"),
        (wire(FIRST, "form list", "count 1", A.lower(), "end"), "64 upper-case hex"),
        (wire(FIRST, "form list", "count 1", A[:-1], "end"), "64 upper-case hex"),
        (wire(FIRST, "form list", "count 1", A + "\r", "end"), "64 upper-case hex"),
        (wire(FIRST, "form list", "count 1", b"\0" + A.encode(), "end"), "64 upper-case hex"),
        (wire(FIRST, "form list", "count 1", A[:-1] + "\0", "end"), "64 upper-case hex"),
        (wire(FIRST, "form list", "count 1", "${run{/bin/id}}".ljust(64, "A"), "end"), "64 upper-case hex"),
        (wire(FIRST, "form directory", "count 1", A, "end"), "carries no fingerprints"),
        (wire(FIRST, "form list", "count 0", "", "end"), "announced"),
        (wire(FIRST, "verify", "end", ""), "cut off"),
        (wire(FIRST, "verify", "end", "end"), "line 3: nothing but"),
    ],
)
def test_an_odd_request_is_refused_with_its_sentence(raw: bytes, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        decode(raw)


@pytest.mark.parametrize("never", sorted(NEVER))
def test_a_hash_of_no_certificate_is_refused_in_a_request(never: Fingerprint) -> None:
    with pytest.raises(RequestError, match="may never be approved"):
        decode(encode(Request("list", (never,))))


answers = st.builds(
    Answer,
    st.sampled_from(OUTCOMES),
    step=st.text(max_size=8),
    message=st.text(max_size=40),
    rewritten_by=st.none() | st.text(max_size=8),
    found=st.none()
    | st.builds(
        Found, st.sampled_from(("list", "directory", "absent")), fingerprints, st.just(DIGEST), due=st.booleans()
    ),
    exim_pid=st.none() | st.integers(1, 1 << 22),
    timings=st.dictionaries(st.text(max_size=5), st.floats(0, 10)),
)


@given(answers)
def test_an_answer_comes_back_as_it_was_given(answer: Answer) -> None:
    assert decode_answer(encode_answer(answer)) == answer


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'{"outcome":"fine"}\n',
        b'{"outcome":"live"}',
        b"\xff\n",
        b'{"outcome":"live","x":1}\n',
    ],
)
def test_what_is_no_answer_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_answer(raw)
