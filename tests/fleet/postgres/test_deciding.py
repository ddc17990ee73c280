"""Deciding in the database: the chain, the rules, and what a relay has decided on its own."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import psycopg.types.json
import pytest
from lab.fleet import next_act, now

from eximcertd.acts.act import Act, ActError, Head, checked
from eximcertd.fingerprint import NEVER, Fingerprint
from eximcertd.fleet.remote import ActRefusedError, MovedError, OwnDecision
from eximcertd.fleet.statements import back_to, upgrade
from eximcertd.status import TABLE, Refusal, Status, Verb

if TYPE_CHECKING:
    from lab.fleet_database import FleetDatabase

    from eximcertd.fleet.postgres import PostgresDesk

A, B = Fingerprint("A" * 64), Fingerprint("B" * 64)
MX1, MX2 = "mx1.example.org", "mx2.example.org"


def decided(desk: PostgresDesk, verb: str, *names: str, **more: object) -> Act:
    act = next_act(desk.head(), verb, *names, **{"by": "alice", **more})  # type: ignore[arg-type]
    desk.decide(act)
    return act


def own(relay: str, name: str, verb: str, base: int = 0) -> OwnDecision:
    return OwnDecision(relay, str(uuid.uuid4()), Fingerprint(name), verb, "carol", 1, "lost laptop", base)


def test_an_act_is_read_back_as_it_was_decided(fleet: FleetDatabase) -> None:
    desk = fleet.desk()
    act = replace(next_act(desk.head(), "approve", A, B, note="héllo \U0001f600 ' \\ %s"), signature="c2ln")
    desk.decide(act)
    (read,) = fleet.relay().acts(0, 10)
    assert (read, read.signature) == (act, "c2ln")
    assert desk.head() == Head(1, act.hash())
    assert desk.of_request(act.request) == act
    assert desk.newest([A, Fingerprint("C" * 64)]) == {A: act}


def test_an_authority_is_an_act_too(fleet: FleetDatabase) -> None:
    desk, der = fleet.desk(), b"a certificate"
    name = hashlib.sha256(der).hexdigest().upper()
    detail = f"{base64.b64encode(der).decode()} *.example.org mail.example.net"
    act = decided(desk, "authorize", name, detail=detail)
    decided(desk, "withdraw", name)
    assert fleet.relay().acts(0, 1) == [act]
    assert desk.newest([Fingerprint(name)]) == {}, "it may be a client's certificate as well"


def test_the_same_act_again_is_no_second_one(fleet: FleetDatabase) -> None:
    desk = fleet.desk()
    act = decided(desk, "approve", A)
    fleet.desk().decide(act)
    assert desk.head().generation == 1
    again = replace(next_act(desk.head(), "approve", A), request=act.request)
    with pytest.raises(MovedError, match="this request is act 1 already"):
        desk.decide(again)


def test_an_act_that_does_not_follow_the_newest_is_built_again(fleet: FleetDatabase) -> None:
    desk = fleet.desk()
    first = next_act(desk.head(), "approve", A)
    other = next_act(Head(1, "E" * 64), "approve", B)
    decided(desk, "reject", A)
    for act in (first, other):
        with pytest.raises(MovedError, match="the newest act is 1 now"):
            desk.decide(act)


def test_the_rules_are_those_of_a_relays_own_decisions(fleet: FleetDatabase) -> None:
    desk = fleet.desk()
    made = {
        Status.UNSEEN: (),
        Status.APPROVED: ("approve",),
        Status.REJECTED: ("reject",),
        Status.REVOKED: ("approve", "revoke"),
    }
    for number, (status, before) in enumerate(made.items()):
        for verb in (Verb.APPROVE, Verb.REJECT, Verb.REVOKE):
            name = hashlib.sha256(f"{number}{verb}".encode()).hexdigest().upper()
            for step in before:
                decided(desk, step, name)
            outcome = TABLE[status, verb]
            if isinstance(outcome, Refusal):
                with pytest.raises(ActRefusedError) as refused:
                    decided(desk, verb, name)
                assert str(refused.value) == f"{name} {outcome.sentence}"
            else:
                decided(desk, verb, name)


@pytest.mark.parametrize(
    "changed",
    [
        {"generation": -1},
        {"generation": 1.5},
        {"previous": "0" * 63},
        {"verb": "adopt"},
        {"by": "bob"},
        {"by": ""},
        {"at": 0},
        {"at": -1},
        {"request": "x"},
        {"note": "x\ny"},
        {"note": "x\x85y"},
        {"note": "x\u2028y"},
        {"note": "x" * 1001},
        {"settles": ["x"]},
        {"settles": [str(uuid.UUID(int=2)), str(uuid.UUID(int=1))]},
        {"settles": [str(uuid.UUID(int=1))] * 2},
        {"settles": [str(uuid.UUID(int=n)) for n in range(5001)]},
        {"detail": "x"},
        {"verb": "authorize"},
        {"verb": "authorize", "detail": "YQ=="},
        {"verb": "authorize", "detail": "YQ==  double"},
        {"verb": "withdraw", "fingerprints": [A, B]},
        {"signature": "~"},
        {"signature": "A" * 16385},
        {"fingerprints": []},
        {"fingerprints": [A.lower()]},
        {"fingerprints": [A + "\n"]},
        {"fingerprints": [B, A]},
        {"fingerprints": [A, A]},
        {"fingerprints": [None]},
        {"fingerprints": [[A]]},
        {"fingerprints": [f"{n:064X}" for n in range(10_001)]},
        *({"fingerprints": [name]} for name in NEVER),
        *({name: None} for name in Act.__dataclass_fields__),
    ],
    ids=lambda changed: str(changed)[:60],
)
def test_an_act_that_relays_would_refuse_is_refused_by_the_database(
    fleet: FleetDatabase, changed: dict[str, object]
) -> None:
    alice = fleet.as_role("alice")
    whole = next_act(Head(), "approve", A).to_json()
    with pytest.raises(psycopg.Error) as refused:
        alice.execute("SELECT fleet.decide(%s)", [psycopg.types.json.Jsonb({**whole, **changed})])
    assert refused.value.sqlstate in {"FL002", "22023"}, refused.value
    alice.execute("SELECT fleet.decide(%s)", [psycopg.types.json.Jsonb(whole)])


def test_what_the_database_takes_relays_take(fleet: FleetDatabase) -> None:
    alice = fleet.as_role("alice")
    dice = random.Random(14)  # noqa: S311 - the same acts in each run
    marks = ["\x1f", "\x20", "\x7e", "\x7f", "\x9f", "\xa0", "\u200b", "\u2028", "\u202e", "\ufeff", "\U0010ffff", "Ⱥ"]
    taken = 0
    for note in [*marks, *(" ".join(dice.sample(marks, 3)) for _ in range(60))]:
        ((generation, digest),) = alice.execute("SELECT generation, hash FROM fleet.head").fetchall()
        act = Act(generation + 1, digest, "approve", "alice", now(), str(uuid.uuid4()), (A,), note)
        try:
            checked(act)
            valid = True
        except ActError:
            valid = False
        try:
            alice.execute("SELECT fleet.decide(%s)", [psycopg.types.json.Jsonb(act.to_json())])
        except psycopg.Error:
            assert not valid, repr(note)
        else:
            assert valid, repr(note)
            taken += 1
    assert len(fleet.desk().acts(0, 1000)) == taken > 5


def test_an_act_is_dated_by_the_databases_clock(fleet: FleetDatabase) -> None:
    desk = fleet.desk()
    for wrong in (-61, 3600):
        act = replace(next_act(desk.head(), "approve", A), at=desk.now() + wrong * 1_000_000)
        with pytest.raises(ActRefusedError, match="away from the database's time"):
            desk.decide(act)
    desk.decide(replace(next_act(desk.head(), "approve", A), at=desk.now() + 50_000_000))


def test_an_approval_names_every_own_rejection_that_is_open(fleet: FleetDatabase) -> None:
    desk, first, second = fleet.desk(), own(MX1, A, "revoke"), own(MX2, A, "reject")
    fleet.relay(MX1).tell([first])
    fleet.relay(MX2).tell([second])
    assert {one.id for one in desk.own([A])} == {first.id, second.id}
    with pytest.raises(ActRefusedError, match=f"reject on {MX2} by carol is open; settle it by its id {second.id}"):
        decided(desk, "approve", A, settles=[first.id])
    decided(desk, "approve", A, settles=[first.id, second.id])
    assert desk.own() == []
    fleet.relay(MX1).tell([first])  # it has not taken the act yet
    assert desk.own() == []


def test_an_act_settles_own_decisions_on_its_own_fingerprints_alone(fleet: FleetDatabase) -> None:
    desk, one = fleet.desk(), own(MX1, A, "revoke")
    fleet.relay(MX1).tell([one])
    decided(desk, "approve", B, settles=[one.id])
    assert desk.own([A]) == [one]


def test_what_a_relay_approved_alone_can_be_revoked(fleet: FleetDatabase) -> None:
    desk, one = fleet.desk(), own(MX1, A, "approve")
    with pytest.raises(ActRefusedError, match="never approved"):
        decided(desk, "revoke", A)
    fleet.relay(MX1).tell([one])
    decided(desk, "revoke", A, settles=[one.id])


def test_what_was_just_revoked_here_and_not_told_yet_can_be_revoked(fleet: FleetDatabase) -> None:
    decided(fleet.desk(), "revoke", A, settles=[str(uuid.uuid4())])


def test_of_two_opposite_decisions_at_once_one_is_made(fleet: FleetDatabase) -> None:
    desks = {"approve": ("alice", fleet.desk("alice")), "reject": ("bob", fleet.desk("bob"))}
    for number in range(20):
        name = f"{number:064X}"
        start = threading.Barrier(2)

        def decide(verb: str, name: str = name, start: threading.Barrier = start) -> bool:
            who, desk = desks[verb]
            act = next_act(desk.head(), verb, name, by=who)
            start.wait(10)
            try:
                desk.decide(act)
            except MovedError:
                return False
            return True

        with ThreadPoolExecutor() as pool:
            assert sorted(pool.map(decide, desks)) == [False, True]


def test_decisions_from_many_at_once_have_no_gap_and_a_reader_misses_none(fleet: FleetDatabase) -> None:
    done = threading.Event()

    def write(who: str) -> int:
        desk, made = fleet.desk(who), 0
        while made < 40:
            try:
                decided(desk, "approve", hashlib.sha256(f"{who}{made}".encode()).hexdigest().upper(), by=who)
            except MovedError:
                continue
            made += 1
        return made

    def read() -> list[Act]:
        relay, seen, head = fleet.relay(hint=False), [], Head()
        while True:
            last = done.is_set()
            for act in relay.acts(head.generation, 7):
                head = head.followed_by(act)
                seen.append(act)
            if last and head == relay.head():
                return seen

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(read)
        written = sum(pool.map(write, ("alice", "bob", "alice")[:2]))
        done.set()
        assert len(reader.result(60)) == written == 80


def test_the_acts_of_an_answer_are_bounded(fleet: FleetDatabase) -> None:
    desk = fleet.desk()
    for part in range(3):
        decided(desk, "approve", *(f"{part:02X}{number:062X}" for number in range(10_000)))
    relay = fleet.relay()
    assert [len(relay.acts(after, 100)) for after in range(4)] == [2, 2, 1, 0]


def test_an_upgrade_of_the_newest_version_changes_nothing(fleet: FleetDatabase) -> None:
    desk = fleet.desk()
    decided(desk, "approve", A)
    fleet.cluster.psql(upgrade())
    decided(desk, "revoke", A)
    with pytest.raises(ActRefusedError, match="can never be approved"):
        desk.decide(Act(3, desk.head().hash, "approve", "alice", desk.now(), str(uuid.uuid4()), (next(iter(NEVER)),)))


def test_after_a_signed_act_there_is_none_without_a_signature(fleet: FleetDatabase) -> None:
    desk = fleet.desk()
    desk.decide(replace(next_act(desk.head(), "approve", A), signature="c2ln"))
    with pytest.raises(ActRefusedError, match="not signed, and the one before it is"):
        decided(desk, "revoke", A)
    desk.decide(replace(next_act(desk.head(), "revoke", A), signature="c2ln"))


def test_acts_that_relays_refuse_are_removed_by_the_administrator(fleet: FleetDatabase) -> None:
    desk, relay = fleet.desk(), fleet.relay()
    rejected = own(MX1, B, "reject")
    relay.tell([rejected])
    kept = [decided(desk, "approve", A), decided(desk, "reject", B, A[:63] + "0")]
    decided(desk, "revoke", A)
    decided(desk, "approve", B, settles=[rejected.id])
    fleet.cluster.psql(back_to(2))
    assert relay.acts(0, 10) == kept
    assert desk.head() == Head(2, kept[1].hash())
    assert desk.newest([A, B]) == {A: kept[0], B: kept[1]}
    assert desk.own() == [rejected]
    decided(desk, "revoke", A)
    fleet.cluster.psql(back_to(0))
    assert (desk.head(), desk.newest([A, B])) == (Head(), {})
