"""What a relay reports to a fleet in a directory, and what becomes of a report that is not what it should be."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.fleet.relay_file import LARGEST_FILE, MOST_SIGHTED
from eximcertd.fleet.remote import OwnDecision, Report, Sighted

if TYPE_CHECKING:
    from lab.home import Home

A, B, C = (Fingerprint(digit * 64) for digit in "ABC")
REPORT = Report("0.1.0", 1, 1, 0, 1_700_000_000_000)
DER = b"not looked into here"


def own(verb: str, fingerprint: Fingerprint = A) -> OwnDecision:
    return OwnDecision("mx2", str(uuid.uuid4()), fingerprint, verb, "carol", 1, "lost laptop", 0)


def test_a_relay_tells_what_it_has_and_the_desk_reads_it(two: Home) -> None:
    fingerprint = of_der(DER)
    relay = two.relay("mx2")
    relay.tell([decision := own("reject", B)])
    relay.sight([seen := Sighted("mx2", fingerprint, 3, 1, 2, "[192.0.2.7]", "laptop", "a@x", "b@y", DER)])
    relay.sight([later := replace(seen, attempts=4, last_seen=9, der=None)])
    relay.sight([Sighted("mx2", C, 1, 0, 99)])
    relay.report(REPORT)
    desk = two.desk()
    assert list(desk.own()) == [decision]
    assert list(desk.own([A])) == list(desk.own([])) == []
    assert [one.fingerprint for one in desk.pending(9)] == [fingerprint, C]
    assert list(desk.sighted([fingerprint])) == [replace(later, der=DER)]
    assert list(desk.matching(fingerprint[:8])) == [fingerprint]
    (state,) = desk.relays()
    assert (state.name, state.report, state.skew, state.dropped) == ("mx2", REPORT, 0, 0)
    assert state.seen_at is not None
    assert abs(state.seen_at - time.time() * 1000) < 60_000


def test_the_clock_of_a_relay_that_is_ahead_is_told(two: Home) -> None:
    two.relay("mx2").report(replace(REPORT, clock=time.time_ns() // 1_000_000 + 3_600_000))
    assert 3_500_000 < two.desk().relays()[0].skew < 3_600_001


def test_of_too_many_waiting_clients_the_newest_with_a_certificate_are_reported_and_the_rest_counted(two: Home) -> None:
    relay = two.relay("mx2")
    every = [Sighted("mx2", Fingerprint(f"{number:064X}"), 1, 0, number) for number in range(MOST_SIGHTED + 7)]
    relay.sight([Sighted("mx2", of_der(DER), 1, 0, 0, der=DER)])
    for start in range(0, len(every), 500):
        relay.sight(every[start : start + 500])
    relay.report(REPORT)
    desk = two.desk()
    assert desk.relays()[0].dropped == 8
    pending = desk.pending(2000)
    assert len(pending) == MOST_SIGHTED
    assert [one.fingerprint for one in pending[:2]] == [of_der(DER), every[-1].fingerprint]


def test_certificates_do_not_make_the_file_too_large_to_be_read(two: Home) -> None:
    relay = two.relay("mx2")
    ders = [bytes([number % 251, number // 251]) * 8000 for number in range(400)]
    relay.sight([Sighted("mx2", of_der(der), 1, 0, 5, der=der) for der in ders])
    relay.tell([own("reject", Fingerprint(f"{number:064X}")) for number in range(12_000)])
    relay.report(REPORT)
    assert (two.directory / "relays/mx2.json").stat().st_size < LARGEST_FILE
    assert 100 < len(two.desk().pending(1000)) < 400
    assert len(two.desk().own()) == 10_000


def hostile(**changes: Any) -> bytes:
    """Return a relay's file in which some values are others."""
    file = {
        "report": {"version": "1", "received": 1, "live": 1, "own": 0, "clock": 5, "problem": "", "dropped": 0},
        "dropped": 0,
        "own": [
            {"id": "i", "fingerprint": A, "verb": "reject", "by": "c", "at": 1, "note": "", "base": 0, "lost": False}
        ],
        "sighted": [
            {"fingerprint": B, "attempts": 1, "first_seen": 1, "last_seen": 2, "der": None}
            | dict.fromkeys(("host", "helo", "sender", "recipient"))
        ],
    }
    for path, value in changes.items():
        *parts, last = path.split("__")
        inner: Any = file
        for part in parts:
            inner = inner[part] if isinstance(inner, dict) else inner[0]
            inner = inner[0] if isinstance(inner, list) else inner
        inner[last] = value
    return json.dumps(file).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"report":' + b"9" * 5000 + b"}",
        b" " * (LARGEST_FILE + 1),
        hostile(report=None),
        hostile(report__version=7),
        hostile(report__version="x" * 1001),
        hostile(report__received=-1),
        hostile(report__live=True),
        hostile(report__clock=1 << 70),
        hostile(report__clock=1.5),
        hostile(own__verb="authorize"),
        hostile(own__verb="see"),
        hostile(own__verb="become root"),
        hostile(own__fingerprint="a" * 64),
        hostile(own__note=["x"]),
        hostile(own=[{}]),
        hostile(own={}),
        hostile(sighted__fingerprint=5),
        hostile(sighted__helo="x" * 1001),
        hostile(sighted__der="not base64!"),
        hostile(sighted__der="QQ=="),
        hostile(sighted=[None] * (MOST_SIGHTED + 1)),
    ],
)
def test_the_file_of_a_hostile_relay_is_its_own_problem_and_no_others(two: Home, raw: bytes) -> None:
    two.relay("mx2").report(REPORT)
    (two.directory / "relays/mx3.json").write_bytes(raw)
    good, bad = two.desk().relays()
    assert (good.name, good.report) == ("mx2", REPORT)
    assert bad.report is not None
    assert bad.report.problem.startswith("mx3.json: it is")
    assert bad.report.problem.isprintable()
    assert bad.seen_at is None
    assert list(two.desk().own()) == []


def test_what_a_hostile_relay_says_is_cut_to_what_can_be(two: Home) -> None:
    two.relay("mx2").report(REPORT)
    future = (1 << 62) - 1
    raw = hostile(report__problem="\x1b[2J\ud800", sighted__last_seen=future, sighted__first_seen=future)
    (two.directory / "relays/mx2.json").write_bytes(raw)
    (state,) = two.desk().relays()
    assert state.report is not None
    assert state.report.problem == "\x1b[2J?"  # escaped where it is shown; what cannot be shown is gone
    assert two.desk().pending(1)[0].last_seen <= time.time() * 1000


def test_a_client_with_a_long_name_or_a_long_error_does_not_keep_the_relays_file_from_being_read(two: Home) -> None:
    relay = two.relay("mx2")
    relay.sight([Sighted("mx2", B, 1, 1, 2, "[192.0.2.1]", "x" * 5000, "s" * 5000, "r" * 5000)])
    relay.report(replace(REPORT, problem="rsync: " * 500))
    (state,) = two.desk().relays()
    assert state.report is not None
    assert (state.report.received, state.report.problem[:13]) == (REPORT.received, "rsync: rsync:")
    assert [one.helo for one in two.desk().pending(9)] == ["x" * 1000]


def test_a_certificate_counts_under_its_own_fingerprint_only(two: Home) -> None:
    two.relay("mx2").report(REPORT)
    text = hostile(sighted__der="bm90IGxvb2tlZCBpbnRvIGhlcmU=")
    path = two.directory / "relays/mx2.json"
    path.write_bytes(text)
    assert list(two.desk().pending(9)) == []
    path.write_bytes(text.replace(B.encode(), hashlib.sha256(DER).hexdigest().upper().encode()))
    assert two.desk().pending(9)[0].der == DER


def test_a_relays_file_that_is_a_link_or_a_pipe_is_not_read(two: Home) -> None:
    two.relay("mx2").report(REPORT)
    relays = two.directory / "relays"
    (relays / "mx3.json").symlink_to("/etc/shadow")
    os.mkfifo(relays / "mx4.json")
    (relays / "..evil.json").write_bytes(b"x")
    states = {state.name: state.report.problem for state in two.desk().relays() if state.report}
    assert states == {
        "mx2": "",
        "mx3": "mx3.json: Too many levels of symbolic links",
        "mx4": "mx4.json: it is not a regular file",
    }
