"""What the database takes of a relay's reports: what waits there, what was decided there, its state."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final

import pytest
from lab.fleet import next_act
from lab.wait import until
from psycopg.types.json import Jsonb

from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import ActRefusedError, OwnDecision, Report, Sighted

if TYPE_CHECKING:
    from lab.fleet_database import FleetDatabase

A: Final = Fingerprint("A" * 64)
MX1, MX2 = "mx1.example.org", "mx2.example.org"


def strangers(first: int, number: int, *, der: bool = False) -> list[Sighted]:
    ders = [f"certificate {n}".encode() for n in range(first, first + number)]
    names = [Fingerprint(hashlib.sha256(one).hexdigest().upper()) for one in ders]
    return [
        Sighted(MX1, name, 1, first + n, first + n, "192.0.2.1", "helo", "<a@b>", "c@d", one if der else None)
        for n, (name, one) in enumerate(zip(names, ders, strict=True))
    ]


def test_a_false_certificate_is_refused(fleet: FleetDatabase) -> None:
    with pytest.raises(Exception, match="violates check constraint"):
        fleet.relay(MX1).sight([Sighted(MX1, A, 1, 1, 1, der=b"another certificate")])
    assert fleet.desk().sighted([A]) == []


def test_a_relay_writes_for_itself_alone(fleet: FleetDatabase) -> None:
    fleet.relay(MX2).tell([OwnDecision(MX2, "00000000-0000-0000-0000-000000000001", A, "reject", "x", 1, "", 0)])
    relay = fleet.relay(MX1)
    relay.tell([])
    relay.report(Report("1", 0, 0, 0, time.time_ns() // 1_000_000))
    relay.sight([Sighted(MX2, A, 1, 1, 1)])
    desk = fleet.desk()
    assert [one.relay for one in desk.own()] == [MX2]
    assert [one.relay for one in desk.pending(10)] == [MX1]
    assert {state.name: state.report is not None for state in desk.relays()}[MX2] is False


def test_what_a_relay_says_of_the_future_is_clamped_and_its_clock_is_shown(fleet: FleetDatabase) -> None:
    relay, now = fleet.relay(MX1), time.time_ns() // 1_000_000
    ahead = now + 3_600_000
    relay.report(Report("1", 0, 0, 0, ahead, "x\ny", 7))
    relay.sight([Sighted(MX1, A, 1, ahead, ahead)])
    desk = fleet.desk()
    assert desk.sighted([A])[0].last_seen <= desk.now() // 1000
    state = next(state for state in desk.relays() if state.name == MX1)
    assert 3_590_000 < state.skew <= 3_600_000
    assert state.report is not None
    assert (state.report.problem, state.report.dropped) == ("x\\ny", 7)


def test_a_relay_that_reports_nothing_but_nulls_hides_no_other(fleet: FleetDatabase) -> None:
    fleet.relay(MX2).report(Report("1", 5, 5, 0, time.time_ns() // 1_000_000))
    fleet.as_role(MX1).execute("SELECT fleet.report('{}')")
    empty, other = sorted(fleet.desk().relays(), key=lambda one: one.name)[:2]
    assert empty.report is not None
    assert (empty.report.version, empty.report.live, empty.report.problem, empty.skew) == ("", 0, "", 0)
    assert other.report is not None
    assert other.report.live == 5


def test_a_relay_has_a_quota_of_clients_with_and_without_a_certificate(fleet: FleetDatabase) -> None:
    with fleet.cluster.superuser() as superuser:
        superuser.execute("UPDATE fleet.relay SET quota = 600 WHERE name = %s", [MX1])
    relay, desk = fleet.relay(MX1), fleet.desk()
    matched, unknown = strangers(1, 500, der=True), strangers(10_001, 500)
    for portion in (matched, unknown, unknown, strangers(20_001, 500), strangers(30_001, 100, der=True)):
        relay.sight(portion)
    state = next(state for state in desk.relays() if state.name == MX1)
    assert state.dropped == 400
    kept = {one.fingerprint for one in desk.pending(10_000)}
    assert len(kept) == 1200
    assert kept >= {one.fingerprint for one in (*matched, *unknown[400:])}
    assert kept.isdisjoint(one.fingerprint for one in unknown[:400])


def test_more_than_500_clients_at_once_are_refused(fleet: FleetDatabase) -> None:
    with pytest.raises(ActRefusedError, match="at most 500 clients at once"):
        fleet.relay(MX1).sight(strangers(1, 501))


def test_more_than_10000_own_decisions_are_cut_and_those_that_reject_are_kept(fleet: FleetDatabase) -> None:
    open_ones = [
        {"id": f"00000000-0000-0000-0000-{n:012d}", "fingerprint": f"{n:064X}", "verb": "approve" if n else "revoke",
         "by": "x" * 200, "at": 5, "note": "n" * 2000, "base": 0, "lost": False}
        for n in range(10_500)
    ]  # fmt: skip
    fleet.as_role(MX1).execute("SELECT fleet.tell(%s)", [Jsonb(open_ones[::-1])])
    kept = fleet.desk("rita").own()
    assert len(kept) == 10_000
    assert [one.verb for one in kept if one.verb != "approve"] == ["revoke"]
    assert {(len(one.by), len(one.note)) for one in kept} == {(100, 1000)}


def test_pending_has_those_with_a_certificate_first_and_what_is_decided_no_more(fleet: FleetDatabase) -> None:
    desk, ones = fleet.desk(), strangers(1, 3, der=True)
    other = Sighted(MX2, ones[2].fingerprint, 5, 7, 8)
    unknown = strangers(10_001, 2)
    fleet.relay(MX1).sight([*ones, *unknown])
    fleet.relay(MX2).sight([other])
    assert {one.fingerprint for one in desk.pending(1)} == {ones[2].fingerprint}
    first, second = desk.pending(1)
    assert (first, second) == (ones[2], other)
    desk.decide(next_act(desk.head(), "reject", ones[2].fingerprint))
    assert [one.fingerprint for one in desk.pending(10)] == [
        one.fingerprint for one in (ones[1], ones[0], unknown[1], unknown[0])
    ]
    assert desk.sighted([ones[2].fingerprint]) == [ones[2], other], "the certificate of what is decided is still there"
    assert desk.matching(ones[2].fingerprint[:8]) == [ones[2].fingerprint]


def test_text_of_strangers_is_taken_whatever_it_is(fleet: FleetDatabase) -> None:
    relay = fleet.relay(MX1)
    relay.sight([Sighted(MX1, A, 1, 1, 1, helo="a\x00b\udc80\x1b[31m", sender="x" * 5000)])
    (one,) = fleet.desk().sighted([A])
    assert (one.helo, len(one.sender or "")) == ("a\\x00b\\udc80\\x1b[31m", 320)


def test_a_report_of_clients_does_not_read_those_of_other_relays(fleet: FleetDatabase) -> None:
    def counted() -> tuple[int, int]:
        with fleet.cluster.superuser() as superuser:
            row = superuser.execute(
                "SELECT n_tup_ins, seq_tup_read FROM pg_stat_user_tables WHERE relname = 'sighting'"
            ).fetchone()
        assert row is not None
        return row[0], row[1]

    before, _ = counted()
    with fleet.cluster.superuser() as superuser:
        superuser.execute(
            "INSERT INTO fleet.sighting (relay, fingerprint, attempts, first_seen, last_seen)"
            " SELECT %s, sha256(number::text::bytea), 1, 1, 1 FROM generate_series(1, 20000) number",
            [MX2],
        )
    until(lambda: counted()[0] >= before + 20_000, "they are counted")
    inserted, read = counted()
    relay = fleet.relay(MX1)
    relay.sight(strangers(1, 5))
    relay.close()  # a session's counters are there at its end
    until(lambda: counted()[0] >= inserted + 5, "they are counted")
    assert counted()[1] == read
