"""eximcertctl at a desk of a fleet in PostgreSQL, with the person's own role and certificate."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from lab.ctl import ctl
from lab.desk import now
from lab.wait import until

from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.fleet.remote import OwnDecision, Report, Sighted

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity
    from lab.ctl import Done
    from lab.fleet_database import FleetDatabase

A = Fingerprint("A" * 64)
MX1 = "mx1.example.org"


class Verbs:
    """eximcertctl with the service of a person."""

    def __init__(self, fleet: FleetDatabase, directory: Path) -> None:
        self._fleet = fleet
        self._directory = directory

    def __call__(self, *arguments: str, who: str = "alice") -> Done:
        file = self._directory / f"{who}.toml"
        service = self._fleet.cluster.service(who)
        file.write_text(
            f'[control]\nsocket = "{self._directory}/none"\n[fleet]\nrelay = "{MX1}"\nservice = "{service}"\n'
        )
        return ctl("--config", file, *arguments)


@pytest.fixture
def verbs(fleet: FleetDatabase, tmp_path: Path) -> Verbs:
    return Verbs(fleet, tmp_path)


def test_a_person_decides_on_what_a_relay_has_seen_and_sees_it_live(
    fleet: FleetDatabase, verbs: Verbs, alice: Identity
) -> None:
    relay, name = fleet.relay(), of_der(alice.der)
    relay.sight([Sighted(MX1, name, 3, now() - 1000, now(), "[192.0.2.1]", "laptop", "a@x", "b@y", alice.der)])
    relay.report(Report("0.1.0", 0, 0, 0, now()))
    [entry] = verbs("fleet", "pending", "--json").json
    assert (entry["fingerprint"], entry["attempts"]) == (name, 3)
    assert entry["certificate"]["subject"] == "CN=laptop.alice.example"
    with ThreadPoolExecutor() as beside:
        approving = beside.submit(verbs, "approve", name[:16], "--wait", "1", "--note", "her laptop")
        until(lambda: relay.acts(0, 9), "the fleet has the act")
        relay.report(Report("0.1.0", 1, 1, 0, now()))
        done = approving.result()
    assert done.status == 0, done.err
    [act] = relay.acts(0, 9)
    assert (act.verb, act.by, act.note) == ("approve", "alice", "her laptop")
    [row, *_] = [one for one in verbs("fleet", "--json").json["relays"] if one["relay"] == MX1]
    assert (row["received"], row["live"], row["lag"], row["clock"]) == (1, 1, 0, "right")
    assert verbs("revoke", name, who="bob").status == 6, "no eximcertd answers here"
    assert [act.by for act in relay.acts(0, 9)] == ["alice", "bob"]
    assert verbs("fleet", "check").status == 0


def test_what_a_relay_has_revoked_is_named_and_settled(fleet: FleetDatabase, verbs: Verbs) -> None:
    own = OwnDecision(MX1, str(uuid.uuid4()), A, "revoke", "carol", now(), "stolen", 0)
    fleet.relay().tell([own])
    done = verbs("approve", A, "--without-certificate")
    assert done.status == 7
    assert f"is revoked on {MX1} by carol: stolen" in done.err
    assert verbs("fleet", "settle", "--refused", "revoke").status == 6, "no eximcertd answers here"
    [act] = fleet.relay().acts(0, 9)
    assert (act.verb, act.settles) == ("reject", (own.id,))


def test_a_reader_sees_and_does_not_decide(fleet: FleetDatabase, verbs: Verbs) -> None:
    assert verbs("fleet", "pending", who="rita").status == 0
    done = verbs("approve", A, "--without-certificate", who="rita")
    assert done.status in {5, 7}
    assert fleet.relay().acts(0, 9) == []


def test_a_database_that_is_away_is_4_and_here_is_named(verbs: Verbs, fleet: FleetDatabase, tmp_path: Path) -> None:
    service = fleet.cluster.service("alice", port=1)
    file = tmp_path / "away.toml"
    file.write_text(f'[control]\nsocket = "{tmp_path}/none"\n[fleet]\nrelay = "{MX1}"\nservice = "{service}"\n')
    done = ctl("--config", file, "approve", A)
    assert done.status == 4
    assert "--here decides for this relay alone" in done.err
