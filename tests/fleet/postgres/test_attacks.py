"""What a relay that was taken over, a reader and an approver can not do in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from lab.fleet import next_act

from eximcertd.acts.act import Head
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import ActRefusedError, OwnDecision

if TYPE_CHECKING:
    from lab.fleet_database import FleetDatabase

A: Final = Fingerprint("A" * 64)
MX1, MX2 = "mx1.example.org", "mx2.example.org"


DENIED: Final = "42501"
ATTACKS: Final = (
    (MX1, "SELECT fleet.decide('{}')"),
    (MX1, "INSERT INTO fleet.act VALUES (1, '', gen_random_uuid(), '', '')"),
    (MX1, "UPDATE fleet.head SET generation = 99"),
    (MX1, "SELECT * FROM fleet.head FOR UPDATE"),
    (MX1, "SELECT * FROM fleet.head FOR KEY SHARE"),
    (MX1, "SELECT * FROM fleet.act FOR SHARE"),
    (MX1, "BEGIN; LOCK TABLE fleet.head IN ROW EXCLUSIVE MODE"),
    (MX1, "UPDATE fleet.standing SET status = 'approved'"),
    (MX1, "DELETE FROM fleet.act"),
    (MX1, "TRUNCATE fleet.act"),
    (MX1, "ALTER TABLE fleet.act DISABLE TRIGGER ALL"),
    (MX1, "DROP TRIGGER appended ON fleet.act"),
    (MX1, "INSERT INTO fleet.rule VALUES ('approved', 'revoke', 'no')"),
    (MX1, "DELETE FROM fleet.never"),
    (MX1, "SELECT * FROM fleet.sighting"),
    (MX1, "SELECT * FROM fleet.own"),
    (MX1, "SELECT * FROM fleet.open"),
    (MX1, "SELECT * FROM fleet.relay"),
    (MX1, "SELECT * FROM fleet.standing"),
    (MX1, "SELECT fleet.pending(10)"),
    (MX1, "UPDATE fleet.relay SET quota = 1000000"),
    (MX1, "SELECT fleet.as_relay()"),
    (MX1, "SET ROLE fleet_owner"),
    (MX1, "SET ROLE fleet_approver"),
    (MX1, "SET SESSION AUTHORIZATION alice"),
    (MX1, "SET session_replication_role = replica"),
    (MX1, "SET temp_file_limit = -1"),
    (MX1, "CREATE TABLE fleet.mine ()"),
    (MX1, "CREATE TABLE public.mine ()"),
    (MX1, "CREATE TEMPORARY TABLE mine ()"),
    (MX1, "CREATE SCHEMA mine"),
    (MX1, "CREATE FUNCTION pg_temp.x() RETURNS integer LANGUAGE sql AS 'SELECT 1'"),
    (MX1, "DO 'BEGIN LOOP END LOOP; END'"),
    (MX1, "CREATE ROLE mine"),
    (MX1, "ALTER ROLE alice PASSWORD 'x'"),
    (MX1, "SELECT lo_from_bytea(0, '')"),
    (MX1, "SELECT lo_create(0)"),
    (MX1, "SELECT lo_creat(-1)"),
    (MX1, "SELECT lo_put(1, 0, '')"),
    (MX1, "SELECT pg_read_file('/etc/passwd')"),
    (MX1, "SELECT pg_ls_dir('/')"),
    (MX1, "COPY (SELECT 1) TO PROGRAM 'id'"),
    (MX1, "COPY fleet.act TO '/tmp/acts'"),
    (MX1, "SELECT * FROM pg_authid"),
    (MX1, "SELECT pg_reload_conf()"),
    (MX1, "CREATE EXTENSION dblink SCHEMA fleet"),
    ("rita", "SELECT fleet.decide('{}')"),
    ("rita", "SELECT fleet.report('{}')"),
    ("rita", "DELETE FROM fleet.sighting"),
    ("alice", "INSERT INTO fleet.act VALUES (1, '', gen_random_uuid(), '', '')"),
    ("alice", "DELETE FROM fleet.act"),
    ("alice", "SELECT * FROM fleet.head FOR UPDATE"),
    ("alice", "UPDATE fleet.relay SET quota = 1"),
    ("alice", "SELECT fleet.tell('[]')"),
    ("alice", "SELECT fleet.sight('[]')"),
    ("alice", "SET ROLE fleet_owner"),
)  # fmt: skip


@pytest.mark.parametrize(("role", "statement"), ATTACKS)
def test_a_role_has_its_own_verbs_alone(fleet: FleetDatabase, role: str, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        fleet.as_role(role).execute(statement)
    assert refused.value.sqlstate == DENIED, refused.value


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
