"""Who comes into the database, over TLS alone, and how the end of a connection is noticed."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest
from lab.certificates import make, make_ca
from lab.fleet import next_act
from lab.line import Line
from lab.network import Network
from lab.postgres import Cluster
from psycopg.types.json import Jsonb

from eximcertd.config import FleetSettings
from eximcertd.errors import UsageError
from eximcertd.fleet import statements
from eximcertd.fleet.postgres import PostgresDesk, PostgresRelaySide
from eximcertd.fleet.remote import RemoteError, Report

if TYPE_CHECKING:
    from pathlib import Path

    from lab.fleet_database import FleetDatabase


MX1: Final = "mx1.example.org"
A: Final = "A" * 64
REPORT: Final = Report("1", 0, 0, 0, 0)


@pytest.mark.parametrize("mode", ["verify-full", "require", "prefer", "disable"])
def test_the_server_is_verified_whatever_the_service_file_says(fleet: FleetDatabase, mode: str) -> None:
    relay = fleet.relay(MX1, sslmode=mode)
    assert relay._database.raw.pgconn.ssl_in_use
    with pytest.raises(RemoteError, match="root certificate file"):
        fleet.relay(MX1, sslmode=mode, sslrootcert="/nonexistent")


def test_a_server_with_another_name_or_of_another_authority_is_refused(fleet: FleetDatabase, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="does not match host name"):
        fleet.relay(MX1, host="db.example.org")
    with pytest.raises(RemoteError, match="certificate verify failed"):
        fleet.relay(MX1, sslrootcert=make_ca(tmp_path, "Another CA").certificate)


@pytest.mark.parametrize("role", ["mx2.example.org", "alice", "postgres", "fleet_owner", "nobody"])
def test_the_certificate_of_a_relay_is_good_for_its_own_role_alone(fleet: FleetDatabase, role: str) -> None:
    with pytest.raises(RemoteError, match=r"certificate authentication failed|no pg_hba\.conf entry"):
        fleet.desk(MX1, user=role)


def test_nobody_comes_in_without_a_certificate_of_the_fleets_authority(fleet: FleetDatabase, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="requires a valid client certificate"):
        fleet.relay(MX1, sslcert="/nonexistent", sslkey="/nonexistent")
    stranger = make(tmp_path, MX1, issuer=make_ca(tmp_path))
    with pytest.raises(RemoteError, match=r"unknown ca|unable to get local issuer"):
        fleet.relay(MX1, sslcert=stranger.certificate, sslkey=stranger.key)


def test_a_relay_that_connects_as_another_is_told_so(fleet: FleetDatabase) -> None:
    settings = fleet.cluster.settings("mx2.example.org")._replace(relay=MX1)
    with pytest.raises(RemoteError, match=f"reached as mx2.example.org, and this relay is {MX1}"):
        PostgresRelaySide(settings)


def test_a_service_that_is_not_in_the_file_is_named(fleet: FleetDatabase) -> None:
    with pytest.raises(RemoteError, match=r"service lost.*not found"):
        PostgresDesk(FleetSettings(service="lost"))


def test_an_older_schema_is_told_with_what_to_do(fleet: FleetDatabase) -> None:
    with fleet.cluster.superuser() as superuser:
        superuser.execute("UPDATE fleet.version SET version = 0")
    with pytest.raises(RemoteError, match="version 0 of the schema, and this program needs 1") as told:
        fleet.desk()
    assert "eximcertctl fleet sql upgrade" in told.value.hint
    fleet.cluster.psql(statements.upgrade())
    fleet.desk()


def test_a_newer_schema_is_not_upgraded(fleet: FleetDatabase) -> None:
    with fleet.cluster.superuser() as superuser:
        superuser.execute("UPDATE fleet.version SET version = 2")
        with pytest.raises(AssertionError, match="this database is newer than eximcertctl"):
            fleet.cluster.psql(statements.upgrade())
        fleet.desk()


def test_without_psycopg_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RemoteError) as told:
        PostgresDesk(FleetSettings(service="fleet"))
    assert "install python3-psycopg" in told.value.hint


def test_a_relay_that_is_removed_is_out_at_once(fleet: FleetDatabase) -> None:
    fleet.cluster.add_relay("mx9.example.org")
    relay = fleet.relay("mx9.example.org")
    relay.report(REPORT)
    fleet.cluster.psql(statements.remove("mx9.example.org"))
    with pytest.raises(RemoteError, match="terminating connection"):
        relay.report(REPORT)
    with pytest.raises(RemoteError):
        fleet.relay("mx9.example.org")
    assert "mx9.example.org" not in [state.name for state in fleet.desk().relays()]


@pytest.mark.parametrize("name", ["", "pg_x", "fleet_owner", "postgres", "x" * 64, "a b", 'a"b', "a'b", "a\nb", "é"])
def test_a_name_that_cannot_be_a_role_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a role of the fleet"):
        statements.add_relay(name)


def test_a_notification_wakes_a_relay_that_waits(fleet: FleetDatabase) -> None:
    relay, desk = fleet.relay(), fleet.desk()
    with ThreadPoolExecutor() as pool:
        woken = pool.submit(relay.wait, 60)
        desk.decide(next_act(desk.head(), "approve", A))
        assert woken.result(20) is True
    assert len(relay.acts(0, 10)) == 1


def test_a_notification_that_comes_with_an_answer_is_not_missed(fleet: FleetDatabase) -> None:
    relay, desk = fleet.relay(), fleet.desk()
    desk.decide(next_act(desk.head(), "approve", A))
    relay.head()
    assert relay.wait(60)


@pytest.mark.parametrize("hint", [True, False])
def test_a_decision_whose_notification_is_lost_is_found_by_looking(fleet: FleetDatabase, hint: bool) -> None:
    relay = fleet.relay(hint=hint)
    act = next_act(relay.head(), "approve", A)
    fleet.as_role("alice").execute("SELECT fleet.decide(%s)", [Jsonb(act.to_json())])
    assert not relay.wait(0.05)
    assert relay.acts(0, 10) == [act]


def test_a_proxy_that_answers_nothing_is_noticed(fleet: FleetDatabase) -> None:
    with Line(fleet.cluster) as line:
        settings = fleet.cluster.settings(MX1, port=line.port)
        relay = PostgresRelaySide(settings, limit=1)
        relay.report(REPORT)
        line.deaf = True
        with pytest.raises(RemoteError, match="no answer within 1 s"):
            relay.report(REPORT)
        relay.close()
        with pytest.raises(RemoteError):
            PostgresRelaySide(settings, limit=1)
        line.deaf = False
        relay = PostgresRelaySide(settings, limit=1)
        relay.report(REPORT)
        relay.close()


def test_a_line_that_is_cut_without_a_word_is_noticed_and_used_again() -> None:
    with Network("db", "mx1") as network, Cluster(host=network["db"]) as cluster:
        cluster.add_relay(MX1)
        settings, here = cluster.settings(MX1), network["mx1"]

        def opened() -> PostgresRelaySide:
            return PostgresRelaySide(settings, limit=2)

        waiting, asking = here.inside(opened), here.inside(opened)
        here.cut()
        with pytest.raises(RemoteError, match="no answer within 2 s"):
            here.inside(lambda: asking.report(REPORT))
        assert here.inside(lambda: waiting.wait(60)), "the kernel's keepalives have ended the connection"
        with pytest.raises(RemoteError):
            here.inside(waiting.head)
        here.mend()
        again = here.inside(opened)
        here.inside(lambda: again.report(REPORT))
        for relay in (waiting, asking, again):
            relay.close()
