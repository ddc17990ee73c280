"""approve in a fleet: what is decided where, which fingerprint is meant, how it ends."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from lab.ctl import ctl
from lab.desk import RelayTwin, Site, own_decision
from lab.entries import certificate

from eximcertd.fingerprint import NEVER, Fingerprint, grouped

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

A = Fingerprint("A" * 64)


def test_the_fleet_approves_and_this_relays_exim_is_waited_for(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    done = site.ctl("approve", name[:16], "--note", "asked by phone")
    assert done.status == 0
    assert done.out.splitlines()[0] == f"approved {grouped(name)}"
    assert "Decided for the fleet: act 1 (approve)." in done.out
    assert "Exim honours it (list form, revision 7)." in done.out
    [act] = site.acts()
    assert (act.verb, act.by, act.note, act.fingerprints) == ("approve", "alice", "asked by phone", (name,))
    assert relay.called("Decide") == [], "this relay follows the fleet and does not decide itself"


def test_who_decided_is_whose_key_signed(site: Site, alice: Identity, name: Fingerprint) -> None:
    site.sees("mx2", name, alice.der)
    assert site.ctl("approve", name, "--timeout", "1", who="bob").status == 6
    assert site.acts()[0].by == "bob"


def test_approving_again_changes_nothing_and_waits_again(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    first, second = (site.ctl("approve", name) for _ in range(2))
    assert (first.status, second.status) == (0, 0)
    assert "The fleet had decided so before, with act 1." in second.out
    assert len(site.acts()) == 1


def test_a_publication_that_fails_here_is_6_with_the_reason(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    relay.publication |= {"live": False, "outcome": "failed", "step": "validate", "message": "a wrong line"}
    done = site.ctl("approve", name)
    assert done.status == 6
    assert "validate: a wrong line" in done.err
    assert len(site.acts()) == 1


def test_a_relay_that_does_not_follow_is_6_with_how_far_it_is(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    relay.follows = False
    done = site.ctl("approve", name, "--timeout", "0.3")
    assert done.status == 6
    assert "This relay is at act 0 of 1: the line is cut." in done.err


def test_an_act_that_this_relay_holds_back_is_told_with_the_way_to_accept_it(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    relay.follows, relay.held = False, 1
    done = site.ctl("approve", name)
    assert done.status == 6
    assert "eximcertctl fleet accept 1" in done.err
    assert site.ctl("fleet", "accept", "2").status == 2
    assert site.ctl("fleet", "accept", "1", "--json").json["relay"] == "mx1"
    assert relay.called("FleetAccept") == [{"generation": 2}, {"generation": 1}]


def test_without_an_eximcertd_here_it_is_said_that_nothing_is_known_of_its_exim(
    site: Site, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    done = site.ctl("approve", name)
    assert done.status == 6
    assert "Decided, NOT YET LIVE." in done.err
    assert "eximcertd does not answer" in done.err


def test_what_a_relay_has_revoked_is_named_and_not_approved(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    site.tells("mx3", own_decision("mx3", name, "revoke", note="stolen"))
    done = site.ctl("approve", name)
    assert done.status == 7
    assert "is revoked on mx3 by carol: stolen" in done.err
    assert "eximcertctl fleet settle" in done.err
    assert site.acts() == []


def test_a_certificate_that_no_relay_has_is_7_unless_it_is_insisted(site: Site, relay: RelayTwin) -> None:
    done = site.ctl("approve", A)
    assert done.status == 7
    assert "--without-certificate" in done.err
    assert site.ctl("approve", A, "--without-certificate").status == 0


def test_the_certificate_of_this_relay_is_used_if_the_fleet_has_none(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    relay.ders[name] = alice.der
    relay.ders[A] = alice.der
    assert site.ctl("approve", name).status == 0
    assert site.ctl("approve", A).status == 7, "these bytes have another fingerprint"


@pytest.mark.parametrize("never", sorted(NEVER))
def test_the_hashes_of_no_certificate_are_7(site: Site, relay: RelayTwin, never: Fingerprint) -> None:
    assert site.ctl("approve", never, "--without-certificate").status == 7
    assert site.acts() == []


def test_here_decides_for_this_relay_alone(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"))
    done = site.ctl("approve", A, "--here")
    assert done.status == 0
    assert site.acts() == []
    assert [one.verb for one in relay.own] == ["approve"]
    assert site.ctl("approve", A, "--here", "--wait", "all").status == 2


def test_a_fleet_that_does_not_answer_is_4_and_here_is_named(site: Site, relay: RelayTwin) -> None:
    shutil.rmtree(site.home.directory)
    done = site.ctl("approve", A)
    assert done.status == 4
    assert "--here decides for this relay alone" in done.err
    assert relay.called("Decide") == []


def test_what_to_do_about_a_fleet_that_cannot_be_reached_is_told_beside_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    file = tmp_path / "eximcertd.toml"
    file.write_text('[fleet]\nrelay = "mx1"\nservice = "fleet"\n')
    done = ctl("--config", file, "--socket", tmp_path / "control", "approve", A)
    assert done.status == 4
    assert "install python3-psycopg" in done.err
    assert "--here decides for this relay alone" in done.err


def test_a_person_whose_key_is_no_signers_decides_nothing(site: Site, relay: RelayTwin) -> None:
    site.home.make_key("mallory")
    done = site.ctl("approve", A, "--without-certificate", who="mallory")
    assert done.status == 1
    assert "it may not decide" in done.err
    assert site.acts() == []


def test_a_replacement_is_for_one_relay(site: Site, relay: RelayTwin) -> None:
    assert site.ctl("approve", A, "--replace").status == 2
    relay.see(A, certificate("CN=laptop"))
    assert site.ctl("approve", A, "--replace", "--here").status == 0


# Digits and names


def test_digits_are_looked_up_here_and_in_the_fleet(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    few = site.ctl("approve", name[:8])
    assert few.status == 3
    assert "give at least 16 digits" in few.err
    assert grouped(name) in few.err
    relay.see(name, certificate("CN=laptop"))
    assert site.ctl("approve", name[:8]).status == 0, "its certificate is in this relay's directory"
    assert site.ctl("approve", "00000000").status == 3


def test_digits_that_two_have_decide_nothing(site: Site, relay: RelayTwin) -> None:
    here, there = Fingerprint("A" * 60 + "0000"), Fingerprint("A" * 60 + "1111")
    relay.see(here, certificate("CN=laptop"))
    site.sees("mx2", there)
    done = site.ctl("approve", "A" * 16, "--without-certificate")
    assert done.status == 3
    assert grouped(here) in done.err
    assert grouped(there) in done.err
    assert site.acts() == []


def test_a_name_that_only_a_client_elsewhere_has_shown_is_none_and_its_fingerprint_is_told(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    done = site.ctl("approve", "laptop.alice.example", "--yes")
    assert done.status == 3
    assert "only clients have shown a certificate with the name" in done.err
    assert grouped(name) in done.err
    assert site.acts() == []
