"""What a relay that was taken over, a reader and an approver can not do in the database."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from lab.fleet import next_act
from lab.wait import until
from psycopg.types.json import Jsonb

from eximcertd.acts.act import ActError, Head
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import ActRefusedError, OwnDecision, Report, Sighted

if TYPE_CHECKING:
    from lab.postgres import FleetDatabase

A: Final = Fingerprint("A" * 64)
MX1, MX2 = "mx1.example.org", "mx2.example.org"

DENIED, NO_SUCH = "42501", "42P01"
ATTACKS: Final[dict[tuple[str, str], str]] = {
    # (role, statement): SQLSTATE
    (MX1, "SELECT fleet.decide('{}')"): DENIED,
    (MX1, "INSERT INTO fleet.act VALUES (1, '', gen_random_uuid(), '', '')"): DENIED,
    (MX1, "UPDATE fleet.head SET generation = 99"): DENIED,
    (MX1, "SELECT * FROM fleet.head FOR UPDATE"): DENIED,
    (MX1, "SELECT * FROM fleet.head FOR KEY SHARE"): DENIED,
    (MX1, "SELECT * FROM fleet.act FOR SHARE"): DENIED,
    (MX1, "BEGIN; LOCK TABLE fleet.head IN ROW EXCLUSIVE MODE"): DENIED,
    (MX1, "UPDATE fleet.standing SET status = 'approved'"): DENIED,
    (MX1, "DELETE FROM fleet.act"): DENIED,
    (MX1, "TRUNCATE fleet.act"): DENIED,
    (MX1, "ALTER TABLE fleet.act DISABLE TRIGGER ALL"): DENIED,
    (MX1, "DROP TRIGGER appended ON fleet.act"): DENIED,
    (MX1, "INSERT INTO fleet.rule VALUES ('approved', 'revoke', 'no')"): DENIED,
    (MX1, "DELETE FROM fleet.never"): DENIED,
    (MX1, "SELECT * FROM fleet.sighting"): DENIED,
    (MX1, "SELECT * FROM fleet.own"): DENIED,
    (MX1, "SELECT * FROM fleet.open"): DENIED,
    (MX1, "SELECT * FROM fleet.relay"): DENIED,
    (MX1, "SELECT * FROM fleet.standing"): DENIED,
    (MX1, "SELECT fleet.pending(10)"): DENIED,
    (MX1, "UPDATE fleet.relay SET quota = 1000000"): DENIED,
    (MX1, "SELECT fleet.as_relay()"): DENIED,
    (MX1, "SET ROLE fleet_owner"): DENIED,
    (MX1, "SET ROLE fleet_approver"): DENIED,
    (MX1, "SET SESSION AUTHORIZATION alice"): DENIED,
    (MX1, "SET session_replication_role = replica"): DENIED,
    (MX1, "SET temp_file_limit = -1"): DENIED,
    (MX1, "CREATE TABLE fleet.mine ()"): DENIED,
    (MX1, "CREATE TABLE public.mine ()"): DENIED,
    (MX1, "CREATE TEMPORARY TABLE mine ()"): DENIED,
    (MX1, "CREATE SCHEMA mine"): DENIED,
    (MX1, "CREATE FUNCTION pg_temp.x() RETURNS integer LANGUAGE sql AS 'SELECT 1'"): DENIED,
    (MX1, "DO 'BEGIN LOOP END LOOP; END'"): DENIED,
    (MX1, "CREATE ROLE mine"): DENIED,
    (MX1, "ALTER ROLE alice PASSWORD 'x'"): DENIED,
    (MX1, "SELECT lo_from_bytea(0, '')"): DENIED,
    (MX1, "SELECT lo_create(0)"): DENIED,
    (MX1, "SELECT lo_creat(-1)"): DENIED,
    (MX1, "SELECT lo_put(1, 0, '')"): DENIED,
    (MX1, "SELECT pg_read_file('/etc/passwd')"): DENIED,
    (MX1, "SELECT pg_ls_dir('/')"): DENIED,
    (MX1, "COPY (SELECT 1) TO PROGRAM 'id'"): DENIED,
    (MX1, "COPY fleet.act TO '/tmp/acts'"): DENIED,
    (MX1, "SELECT * FROM pg_authid"): DENIED,
    (MX1, "SELECT pg_reload_conf()"): DENIED,
    (MX1, "CREATE EXTENSION dblink SCHEMA fleet"): DENIED,
    ("rita", "SELECT fleet.decide('{}')"): DENIED,
    ("rita", "SELECT fleet.report('{}')"): DENIED,
    ("rita", "DELETE FROM fleet.sighting"): DENIED,
    ("alice", "INSERT INTO fleet.act VALUES (1, '', gen_random_uuid(), '', '')"): DENIED,
    ("alice", "DELETE FROM fleet.act"): DENIED,
    ("alice", "SELECT * FROM fleet.head FOR UPDATE"): DENIED,
    ("alice", "UPDATE fleet.relay SET quota = 1"): DENIED,
    ("alice", "SELECT fleet.tell('[]')"): DENIED,
    ("alice", "SELECT fleet.sight('[]')"): DENIED,
    ("alice", "SET ROLE fleet_owner"): DENIED,
}  # fmt: skip


@pytest.mark.parametrize(("role", "statement"), ATTACKS)
def test_a_role_has_its_own_verbs_alone(fleet: FleetDatabase, role: str, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        fleet.as_role(role).execute(statement)
    assert refused.value.sqlstate == ATTACKS[role, statement], refused.value


@pytest.mark.parametrize("role", [MX1, "rita", "alice"])
def test_no_role_may_write_to_any_table_itself(fleet: FleetDatabase, role: str) -> None:
    with fleet.cluster.superuser() as superuser:
        tables = superuser.execute(
            "SELECT relname, has_table_privilege(%s, oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
            " OR has_any_column_privilege(%s, oid, 'INSERT, UPDATE, REFERENCES')"
            " FROM pg_class WHERE relnamespace = 'fleet'::regnamespace AND relkind IN ('r', 'v')",
            [role, role],
        ).fetchall()
    assert {name for name, _ in tables} >= {"act", "head", "standing", "settled", "own", "sighting", "relay", "rule"}
    assert [name for name, writes in tables if writes] == []


@pytest.mark.parametrize(
    ("role", "may"), [(MX1, {"tell", "sight", "report"}), ("rita", {"pending"}), ("alice", {"pending", "decide"})]
)
def test_a_role_may_run_its_own_functions_and_no_others(fleet: FleetDatabase, role: str, may: set[str]) -> None:
    with fleet.cluster.superuser() as superuser:
        functions = superuser.execute(
            "SELECT proname, has_function_privilege(%s, oid, 'EXECUTE') FROM pg_proc"
            " WHERE pronamespace = 'fleet'::regnamespace",
            [role],
        ).fetchall()
    assert {name for name, runs in functions if runs} == may


def test_what_runs_with_the_owners_rights_finds_nothing_that_a_caller_has_made(fleet: FleetDatabase) -> None:
    with fleet.cluster.superuser() as superuser:
        paths = superuser.execute(
            "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'fleet'::regnamespace AND prosecdef"
        ).fetchall()
    assert {name for name, _ in paths} == {"decide", "tell", "sight", "report"}
    assert {tuple(path) for _, path in paths} == {("search_path=pg_catalog, pg_temp",)}


def test_a_relay_does_not_end_the_sessions_of_others(fleet: FleetDatabase) -> None:
    alice = fleet.as_role("alice")
    with pytest.raises(psycopg.Error) as refused:
        fleet.as_role(MX1).execute("SELECT pg_terminate_backend(%s)", [alice.info.backend_pid])
    assert refused.value.sqlstate == DENIED


def test_a_relay_has_five_connections_at_most(fleet: FleetDatabase) -> None:
    with pytest.raises(psycopg.OperationalError, match="too many connections"):  # noqa: PT012 - how many others are left
        for _ in range(6):
            fleet.as_role(MX1)


def test_nobody_decides_in_the_name_of_another(fleet: FleetDatabase) -> None:
    desk = fleet.desk("bob")
    with pytest.raises(ActRefusedError, match="the act says that alice decides, and bob is connected"):
        desk.decide(next_act(desk.head(), "approve", A, by="alice"))


def test_a_reader_reads_and_may_not_decide(fleet: FleetDatabase) -> None:
    desk = fleet.desk("rita")
    assert (desk.head(), desk.pending(10), desk.own()) == (Head(), [], [])
    assert {state.name for state in desk.relays()} >= {MX1, MX2}
    with pytest.raises(ActRefusedError, match="rita may read the fleet, not decide"):
        desk.who()
    with pytest.raises(ActRefusedError, match="permission denied"):
        desk.decide(next_act(Head(), "approve", A, by="rita"))


HOLDING: Final = (
    "SELECT txid_current()",
    "SELECT * FROM fleet.head, fleet.act",
    "LOCK TABLE fleet.act, fleet.head IN ACCESS SHARE MODE",
    "SELECT pg_advisory_lock(42)",
    "SELECT fleet.sight('[]')",
    f"""SELECT fleet.sight('[{{"fingerprint": "{A}", "attempts": 1, "first_seen": 1, "last_seen": 1}}]')""",
    f"""SELECT fleet.tell('[{{"id": "00000000-0000-0000-0000-000000000001", "fingerprint": "{A}", "verb": "approve",
        "by": "x", "at": 1, "note": "", "base": 0, "lost": false}}]')""",
    """SELECT fleet.report('{"version": "1", "received": 0, "live": 0, "own": 0, "clock": 0, "problem": ""}')""",
)


@pytest.mark.parametrize("level", ["READ COMMITTED", "SERIALIZABLE"])
@pytest.mark.parametrize("statement", HOLDING)
def test_a_relay_in_an_open_transaction_holds_up_no_decision(fleet: FleetDatabase, level: str, statement: str) -> None:
    told = OwnDecision(MX1, "00000000-0000-0000-0000-000000000001", A, "reject", "x", 1, "", 0)
    fleet.relay(MX1).tell([told])
    held = fleet.as_role(MX1)
    held.execute("SET idle_in_transaction_session_timeout = 0")
    held.execute(f"BEGIN ISOLATION LEVEL {level}")
    held.execute(statement)
    desk = fleet.desk()
    desk.decide(next_act(desk.head(), "approve", A, settles=[told.id]))  # lock_timeout of the connection: 10 s
    assert (desk.own(), desk.pending(10), desk.relays()[0].report) == ([], [], None)


def test_a_forged_notification_is_only_looked_at(fleet: FleetDatabase) -> None:
    forger, relay = fleet.as_role(MX2), fleet.relay(MX1)
    forger.execute("NOTIFY fleet, 'act 99'")
    assert relay.wait(60)
    assert relay.acts(0, 10) == []
    unheard = fleet.relay(MX1, hint=False)
    forger.execute("NOTIFY fleet, 'act 99'")
    assert not unheard.wait(0.1)


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


def test_an_act_that_a_superuser_has_changed_is_noticed(fleet: FleetDatabase) -> None:
    desk, relay = fleet.desk(), fleet.relay(MX1)
    for number in range(3):
        desk.decide(next_act(desk.head(), "approve", f"{number:064X}"))
    with fleet.cluster.superuser() as superuser:
        with pytest.raises(psycopg.Error, match="acts are appended"):
            superuser.execute("UPDATE fleet.act SET signature = 'x'")
        superuser.execute("ALTER TABLE fleet.act DISABLE TRIGGER appended")
        superuser.execute(
            "UPDATE fleet.act SET text = convert_to(replace(convert_from(text, 'UTF8'), 'alice', 'bob'), 'UTF8')"
            " WHERE generation = 2"
        )
        superuser.execute("ALTER TABLE fleet.act ENABLE TRIGGER appended")
    head = Head()
    with pytest.raises(ActError, match="act 3 does not follow"):  # noqa: PT012 - the acts before it follow
        for act in relay.acts(0, 10):
            head = head.followed_by(act)


def test_a_row_that_a_superuser_has_inserted_and_that_is_no_act_is_refused(fleet: FleetDatabase) -> None:
    with fleet.cluster.superuser() as superuser:
        superuser.execute("INSERT INTO fleet.act VALUES (1, '', gen_random_uuid(), 'approve everybody', '')")
    with pytest.raises(ActError, match="malformed"):
        fleet.relay(MX1).acts(0, 10)


def test_a_status_that_a_superuser_has_inserted_is_no_decision(fleet: FleetDatabase) -> None:
    desk, relay = fleet.desk(), fleet.relay()
    act = next_act(desk.head(), "reject", "B" * 64)
    desk.decide(act)
    with fleet.cluster.superuser() as superuser:
        superuser.execute("INSERT INTO fleet.standing VALUES (decode(%s, 'hex'), false, 'rejected', 1)", [A])
    assert relay.acts(0, 10) == [act]
    assert relay.head() == Head(1, act.hash())
    assert desk.newest([A]) == {}, "a person is not told that it was decided"


def strangers(first: int, number: int, *, der: bool = False) -> list[Sighted]:
    ders = [f"certificate {n}".encode() for n in range(first, first + number)]
    names = [Fingerprint(hashlib.sha256(one).hexdigest().upper()) for one in ders]
    return [
        Sighted(MX1, name, 1, first + n, first + n, "192.0.2.1", "helo", "<a@b>", "c@d", one if der else None)
        for n, (name, one) in enumerate(zip(names, ders, strict=True))
    ]


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
