"""The wire format of requests: every byte is checked, and memory is allocated for no more than the limit allows."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eximcertd.fingerprint import NEVER, Fingerprint
from eximcertd.publication.ask import encode
from eximcertd.publish import request as wire
from eximcertd.publish.request import ACTIONS, FIRST_LINE, Request, RequestError, receive

if TYPE_CHECKING:
    from pathlib import Path

A, B = Fingerprint("0A" * 32), Fingerprint("0B" * 32)
DIGEST = "5f" * 32

fingerprints = st.lists(
    st.binary(min_size=32, max_size=32).map(lambda raw: Fingerprint(raw.hex().upper())), max_size=8, unique=True
).map(lambda found: tuple(sorted(set(found) - set(NEVER))))
digests = st.one_of(st.none(), st.just("-"), st.just(DIGEST))
requests = st.one_of(
    st.builds(Request, st.just("write list"), digests, fingerprints),
    st.builds(Request, st.sampled_from(["read", "restore", "write directory"]), digests, st.just(())),
)


def received(raw: bytes, most: int = 100) -> Request:
    """Return what the program makes of these bytes on its standard input."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reading:
        with os.fdopen(write, "wb") as writing:
            writing.write(raw)
        return receive(reading.fileno(), FIRST_LINE, ACTIONS, most)


@given(requests)
def test_a_request_comes_back_as_it_was_sent(request: Request) -> None:
    assert received(encode(FIRST_LINE, request)) == request


@given(requests, st.data())
def test_a_request_that_was_cut_off_anywhere_is_refused(request: Request, data: st.DataObject) -> None:
    raw = encode(FIRST_LINE, request)
    with pytest.raises(RequestError):
        received(raw[: data.draw(st.integers(0, len(raw) - 1))])


@given(requests, st.data())
def test_a_byte_changed_never_goes_unnoticed(request: Request, data: st.DataObject) -> None:
    raw = bytearray(encode(FIRST_LINE, request))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    with contextlib.suppress(RequestError):
        assert received(bytes(raw)) != request


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_and_raise_nothing_else(raw: bytes) -> None:
    with pytest.raises(RequestError):
        received(raw)


def lines(*given: str | bytes) -> bytes:
    return b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in given)


FIRST = FIRST_LINE
HEAD = "does not begin with"


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", HEAD),
        (b"\n", HEAD),
        (b"end\n", HEAD),
        (lines("eximcertd-publish 1", "read", "count 0", "end"), HEAD),
        (lines(FIRST, "end"), HEAD),
        (lines(FIRST, "read", "count 0"), "do not follow the count"),
        (lines(FIRST, "reload", "count 0", "end"), "line 2 is no action"),
        (lines(FIRST, "write tree", "count 0", "end"), "line 2 is no action"),
        (lines(FIRST, "read", "count 1", A, "end"), "the count does not fit"),
        (lines(FIRST, "write directory", "count 1", A, "end"), "the count does not fit"),
        (lines(FIRST, "read", "expected " + DIGEST.upper(), "count 0", "end"), HEAD),
        (lines(FIRST, "read", "expected ", "count 0", "end"), HEAD),
        (lines(FIRST, "write list", "end"), HEAD),
        (lines(FIRST, "write list", "count 01", A, "end"), HEAD),
        (lines(FIRST, "write list", "count -1", "end"), HEAD),
        (lines(FIRST, "write list", "count 99999999", "end"), HEAD),
        (lines(FIRST, "write list", "count 101", "end"), "more than .publish. max_fingerprints = 100"),
        (lines(FIRST, "write list", "count 2", A, "end"), "2 fingerprints"),
        (lines(FIRST, "write list", "count 1", A, B, "end"), "1 fingerprints"),
        (lines(FIRST, "write list", "count 2", B, A, "end"), "not ascending"),
        (lines(FIRST, "write list", "count 2", A, A, "end"), "not ascending"),
        (lines(FIRST, "write list", "count 1", A.lower(), "end"), "64 upper-case hex"),
        (lines(FIRST, "write list", "count 1", A[:-1], "end"), "64 upper-case hex"),
        (lines(FIRST, "write list", "count 1", A + "\r", "end"), "64 upper-case hex"),
        (lines(FIRST, "write list", "count 1", b"\0" + A.encode(), "end"), "64 upper-case hex"),
        (lines(FIRST, "write list", "count 1", A[:-1] + "\0", "end"), "64 upper-case hex"),
        (lines(FIRST, "write list", "count 1", "${run{/bin/id}}".ljust(64, "A"), "end"), "64 upper-case hex"),
        (lines(FIRST, "write list", "count 0", "", "end"), "0 fingerprints"),
        (lines(FIRST, "read", "count 0", "end", ""), "0 fingerprints"),
        (lines(FIRST, "read", "count 0", "end", "end"), "0 fingerprints"),
    ],
)
def test_a_request_that_does_not_follow_the_protocol_is_refused_with_its_sentence(raw: bytes, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        received(raw)


@pytest.mark.parametrize("never", sorted(NEVER))
def test_a_hash_of_no_certificate_is_refused_in_a_request(never: Fingerprint) -> None:
    with pytest.raises(RequestError, match="can never be approved"):
        received(encode(FIRST_LINE, Request("write list", None, (never,))))


def test_a_request_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SLOWEST", 0.05)
    read, write = os.pipe()
    try:
        os.write(write, lines(FIRST, "write list"))
        with pytest.raises(RequestError, match="was not complete within"):
            receive(read, FIRST_LINE, ACTIONS, 100)
    finally:
        os.close(read)
        os.close(write)


def test_a_request_larger_than_the_limits_costs_no_memory(tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "from eximcertd.publish.request import *\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: receive(0, FIRST_LINE, ACTIONS, 1000)\n"
        "except RequestError as error: print(error, file=sys.stderr)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    for head in (lines(FIRST, "write list", "count 999999"), lines(FIRST, "write list", "count 1000"), b"A"):
        given = tmp_path / "request"
        given.write_bytes(head)
        os.truncate(given, 64 << 20)
        with given.open("rb") as stdin:
            done = subprocess.run([sys.executable, "-c", script], stdin=stdin, capture_output=True, check=True)
        assert done.stderr
        assert int(done.stdout) < 2048, f"{int(done.stdout)} KiB"


@pytest.mark.parametrize(
    ("fault", "step", "message", "printed"),
    [
        ("", "request", "standard input: Bad file descriptor", ""),
        (
            "program.receive = None; ",
            "",
            "a fault in eximcertd-publish: TypeError(",
            "Traceback (most recent call last)",
        ),
    ],
)
def test_whatever_happens_there_is_an_answer(tmp_path: Path, fault: str, step: str, message: str, printed: str) -> None:
    config = tmp_path / "eximcertd.toml"
    config.touch()
    code = f"from eximcertd.publish import program; {fault}program.main()"
    command = [sys.executable, "-c", code, "--config", str(config)]
    unreadable = os.open(tmp_path / "written", os.O_WRONLY | os.O_CREAT)
    done = subprocess.run(command, stdin=unreadable, capture_output=True, text=True, check=True)
    os.close(unreadable)
    told = json.loads(done.stdout)
    assert (told["outcome"], told["step"]) == ("failed", step)
    assert told["message"].startswith(message)
    assert done.stderr.startswith(printed)
    assert bool(done.stderr) == bool(printed)


def test_as_many_fingerprints_as_are_allowed_are_taken() -> None:
    raw = encode(FIRST_LINE, Request("write list", None, (A, B)))
    assert received(raw, most=2).fingerprints == (A, B)
    with pytest.raises(RequestError, match="2 fingerprints are more than"):
        received(raw, most=1)
