"""What the database's superuser has changed past its functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from lab.fleet import next_act

from eximcertd.acts.act import ActError, Head
from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from lab.fleet_database import FleetDatabase

A: Final = Fingerprint("A" * 64)
MX1: Final = "mx1.example.org"


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
