"""The database is lost: a standby that has less, a standby that has all, a backup that is restored."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from lab.fleet import next_act
from lab.postgres import Cluster
from lab.standby import Pair
from lab.wait import until
from psycopg.errors import InsufficientPrivilege as RefusedStatement

from eximcertd.acts.act import Act, Head
from eximcertd.acts.effective import Lost, rebased
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.postgres import PostgresDesk, PostgresRelaySide
from eximcertd.fleet.remote import OwnDecision, RemoteError
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

MX1 = "mx1.example.org"
A, B = Fingerprint("A" * 64), Fingerprint("B" * 64)
FORBIDDEN = (
    "SELECT fleet.decide('{}')",
    "SELECT lo_create(0)",
    "DO ''",
    "CREATE TEMPORARY TABLE mine ()",
    "DELETE FROM fleet.act",
)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Cluster() as primary:
        primary.add_relay(MX1)
        primary.add_approver("alice")
        with Cluster(of=primary) as standby:
            pair = Pair(primary, standby)
            with pair.stack:
                yield pair


def decided(desk: PostgresDesk, verb: str, name: str) -> Act:
    act = next_act(desk.head(), verb, name)
    desk.decide(act)
    return act


def test_what_an_asynchronous_standby_lost_is_told_by_the_hash_and_becomes_the_relays_own(pair: Pair) -> None:
    desk, relay = pair.desk(), pair.relay(MX1)
    decided(desk, "approve", A)
    pair.in_step()
    with pair.held():
        lost = [decided(desk, "revoke", A), decided(desk, "approve", B)]
        assert relay.acts(0, 10)[1:] == lost, "the relay has taken them"
        pair.primary.stop(signal.SIGQUIT)
    pair.standby.promote()
    with pytest.raises(RemoteError):
        relay.head()

    relay, desk = pair.relay(MX1), pair.desk()
    assert relay.head().generation == 1 < lost[-1].generation
    newer = [decided(desk, "approve", name) for name in ("C" * 64, "D" * 64)]
    assert relay.head().generation == lost[-1].generation, "the generation alone tells nothing"
    (there,) = relay.acts(lost[-1].generation - 1, 1)
    assert there.hash() != lost[-1].hash()

    own = rebased({}, [Lost(act.generation, name, Verb(act.verb), act.request) for act in lost
                       for name in act.fingerprints], last=1)  # fmt: skip
    relay.tell([OwnDecision(MX1, one.id, name, one.verb, "alice", 1, "", one.base, one.lost)
                for name, one in own.items()])  # fmt: skip
    open_ones = {one.fingerprint: one for one in desk.own()}
    assert {name: (one.verb, one.lost) for name, one in open_ones.items()} == {
        A: ("revoke", True),
        B: ("approve", True),
    }
    desk.decide(next_act(desk.head(), "revoke", A, settles=[open_ones[A].id]))
    desk.decide(next_act(desk.head(), "approve", B, settles=[open_ones[B].id]))
    assert desk.own() == []
    assert [act.generation for act in relay.acts(1, 10)] == [2, 3, 4, 5]
    assert relay.acts(1, 2) == newer


def test_with_a_synchronous_standby_nothing_that_was_acknowledged_is_lost(pair: Pair) -> None:
    with pair.primary.superuser() as superuser:
        superuser.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        superuser.execute("SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        until(lambda: superuser.execute(state).fetchall() == [("sync",)], "the standby is synchronous", limit=30)
    desk, relay = pair.desk(), pair.relay(MX1)
    first = decided(desk, "approve", A)
    impatient = pair.desk(limit=1)
    unknown = next_act(first_head(first), "approve", B)
    with pair.held():
        with pytest.raises(RemoteError, match="no answer within 1 s"):
            impatient.decide(unknown)
        assert relay.head() == first_head(first), "what is not acknowledged is not seen"
        relay.tell([])  # waits for no standby
    desk = pair.desk()
    until(lambda: desk.of_request(unknown.request), "the standby has confirmed it", limit=30)
    desk.decide(unknown)
    pair.fail_over()
    assert pair.relay(MX1).acts(0, 10) == [first, unknown]
    pair.desk().decide(unknown)


def first_head(act: Act) -> Head:
    return Head(act.generation, act.hash())


def test_a_desk_goes_on_with_the_new_primary(pair: Pair) -> None:
    desk = pair.desk()
    act = decided(desk, "approve", A)
    pair.in_step()
    pair.fail_over()
    with pytest.raises(RemoteError):
        desk.now()
    desk = pair.desk()
    assert desk.head() == first_head(act)
    decided(desk, "revoke", A)


def test_a_backup_is_restored_with_all_rights_and_what_came_later_is_missing() -> None:
    with Cluster() as cluster:
        cluster.add_relay(MX1)
        cluster.add_approver("alice")
        settings = cluster.settings("alice")
        desk = PostgresDesk(settings)
        kept = decided(desk, "approve", A)
        cluster.run("pg_dump", "-Fc", "-f", "backup", "fleet")
        later = decided(desk, "revoke", A)
        desk.close()
        with cluster.superuser("postgres") as superuser:
            superuser.execute("DROP DATABASE fleet WITH (FORCE)")
        cluster.run("pg_restore", "--create", "-d", "postgres", "backup")
        relay, desk = PostgresRelaySide(cluster.settings(MX1)), PostgresDesk(settings)
        assert relay.head() == first_head(kept)
        decided(desk, "reject", B)
        assert relay.acts(1, 1)[0].hash() != later.hash()
        for statement in FORBIDDEN:
            with pytest.raises(RefusedStatement, match="permission denied"):
                relay._database.raw.execute(statement)
        relay.close()
        desk.close()
