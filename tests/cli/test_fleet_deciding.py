"""approve, reject, revoke and authority in a fleet: what is decided where, what is waited for, how they end."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from lab.authorities import Signer
from lab.daemon import program
from lab.desk import RelayTwin, Site, own_decision
from lab.twins import certificate
from lab.wait import until

from eximcertd.fingerprint import NEVER, Fingerprint, grouped, of_der

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lab.certificates import Identity

    from eximcertd.acts.act import Act

A, B = (Fingerprint(letter * 64) for letter in "AB")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Make a fleet by files, whose machine is mx1."""
    return Site(tmp_path)


@pytest.fixture
def relay(site: Site) -> Iterator[RelayTwin]:
    """Run a twin of the machine's eximcertd, which follows the fleet."""
    with RelayTwin(site) as twin:
        yield twin


@pytest.fixture
def name(alice: Identity) -> Fingerprint:
    return of_der(alice.der)


def acts(site: Site) -> Sequence[Act]:
    return list(site.home.desk().acts(0, 99))


# approve


def test_the_fleet_approves_and_this_relays_exim_is_waited_for(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    done = site.ctl("approve", name[:16], "--note", "asked by phone")
    assert done.status == 0
    assert done.out.splitlines()[0] == f"approved {grouped(name)}"
    assert "Decided for the fleet: act 1 (approve)." in done.out
    assert "Exim honours it (list form, revision 7)." in done.out
    [act] = acts(site)
    assert (act.verb, act.by, act.note, act.fingerprints) == ("approve", "alice", "asked by phone", (name,))
    assert relay.called("Decide") == [], "this relay follows the fleet and does not decide itself"


def test_who_decided_is_whose_key_signed(site: Site, alice: Identity, name: Fingerprint) -> None:
    site.sees("mx2", name, alice.der)
    assert site.ctl("approve", name, "--timeout", "1", who="bob").status == 6
    assert acts(site)[0].by == "bob"


def test_approving_again_changes_nothing_and_waits_again(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    first, second = (site.ctl("approve", name) for _ in range(2))
    assert (first.status, second.status) == (0, 0)
    assert "The fleet had decided so before, with act 1." in second.out
    assert len(acts(site)) == 1


def test_a_publication_that_fails_here_is_6_with_the_reason(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    relay.publication |= {"live": False, "outcome": "failed", "step": "validate", "message": "a wrong line"}
    done = site.ctl("approve", name)
    assert done.status == 6
    assert "validate: a wrong line" in done.err
    assert len(acts(site)) == 1


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
    assert acts(site) == []


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
    assert acts(site) == []


def test_here_decides_for_this_relay_alone(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"))
    done = site.ctl("approve", A, "--here")
    assert done.status == 0
    assert acts(site) == []
    assert [one.verb for one in relay.own] == ["approve"]
    assert site.ctl("approve", A, "--here", "--wait", "all").status == 2


def test_a_fleet_that_does_not_answer_is_4_and_here_is_named(site: Site, relay: RelayTwin) -> None:
    shutil.rmtree(site.home.directory)
    done = site.ctl("approve", A)
    assert done.status == 4
    assert "--here decides for this relay alone" in done.err
    assert relay.called("Decide") == []


def test_a_person_without_a_key_decides_nothing(site: Site, relay: RelayTwin, tmp_path: Path) -> None:
    other = tmp_path / "key-mallory"
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    done = site.ctl("approve", A, "--without-certificate", who="mallory")
    assert done.status == 1
    assert "it may not decide" in done.err
    assert acts(site) == []


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
    assert acts(site) == []


def test_a_name_that_only_a_client_elsewhere_has_shown_is_none_and_its_fingerprint_is_told(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    done = site.ctl("approve", "laptop.alice.example", "--yes")
    assert done.status == 3
    assert "only clients have shown a certificate with the name" in done.err
    assert grouped(name) in done.err
    assert acts(site) == []


# --wait


def test_wait_returns_when_so_many_relays_report_that_exim_honours_it(
    site: Site, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    site.reports("mx3")

    def follow() -> None:
        until(lambda: len(acts(site)) == 1, "the act is there")
        site.reports("mx3", live=1)
        site.reports("mx2", live=1)

    relays = threading.Thread(target=follow)
    relays.start()
    done = site.ctl("approve", name, "--wait", "all", "--timeout", "60")
    relays.join()
    assert done.status == 0
    assert "Exim honours it on 2 of 2 relays." in done.out


def test_relays_that_do_not_honour_it_in_time_are_named_and_it_is_6(
    site: Site, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    for other in ("mx3", "mx4"):
        site.reports(other, live=1)
    done = site.ctl("approve", name, "--wait", "all", "--timeout", "0.1")
    assert done.status == 6
    assert "2 of 3 relays honour it; 3 were asked for. Not yet: mx2." in done.err
    quorum = site.ctl("approve", name, "--wait", "quorum", "--timeout", "0.1", "--json")
    assert quorum.status == 0
    assert quorum.json["publication"]["relays"] == {"live": ["mx3", "mx4"], "waiting": ["mx2"]}
    assert site.ctl("approve", name, "--wait", "2", "--timeout", "0.1").status == 0


@pytest.mark.parametrize("many", ["0", "4", "-1", "some", "1.5"])
def test_a_number_of_relays_that_there_cannot_be_decides_nothing(site: Site, many: str) -> None:
    site.reports("mx2")
    done = site.ctl("approve", A, "--without-certificate", "--wait", many)
    assert done.status == 2
    assert acts(site) == []


def test_a_relay_that_is_at_that_number_of_another_chain_does_not_count(
    site: Site, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    site.reports("mx2", live=1)
    lost = threading.Event()

    def lose() -> None:
        until(lambda: len(acts(site)) == 1, "the act is there")
        for file in (site.home.directory / "acts").iterdir():
            file.unlink()
        site.home.act("reject", A, by="bob")
        site.reports("mx2", live=1)
        lost.set()

    site.reports("mx2", live=0)
    database = threading.Thread(target=lose)
    database.start()
    done = site.ctl("approve", name, "--wait", "all", "--timeout", "1")
    database.join()
    assert done.status == 6


# reject, revoke


def test_revoke_is_done_here_at_once_and_then_by_the_fleet(site: Site, relay: RelayTwin) -> None:
    site.home.act("approve", A)
    site.ctl("fleet", "accept", "1")
    relay.see(A, certificate("CN=laptop"), standing="approved")
    done = site.ctl("revoke", A[:8], "--note", "stolen")
    assert done.status == 0
    assert [sent["verb"] for sent in relay.called("Decide")] == ["revoke"]
    act = acts(site)[-1]
    assert (act.verb, act.note, act.fingerprints) == ("revoke", "stolen", (A,))
    assert len(act.settles) == 1, "the own decision that was made here just now"
    assert "Decided for the fleet: act 2 (revoke), which settles 1 own decision of relays." in done.out
    assert relay.own != []
    site.ctl("fleet", "check")
    assert relay.own == [], "taken with the act"


def test_without_the_fleet_a_revocation_stays_open_and_that_is_said(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"), standing="approved")
    shutil.rmtree(site.home.directory)
    done = site.ctl("revoke", A)
    assert done.status == 6
    assert relay.entries[A]["standing"] == "revoked"
    assert "THE FLEET DOES NOT KNOW IT" in done.err
    assert "It stays open as this relay's own decision: see eximcertctl fleet settle" in done.err
    assert "fleet settle" in site.ctl("revoke", A, "--json").json["fleet"]["problem"]


def test_a_person_without_a_key_revokes_here_and_it_stays_open(site: Site, relay: RelayTwin, tmp_path: Path) -> None:
    relay.see(A, certificate("CN=laptop"), standing="approved")
    other = tmp_path / "key-mallory"
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    done = site.ctl("revoke", A, who="mallory")
    assert done.status == 6
    assert relay.entries[A]["standing"] == "revoked"
    assert "it may not decide" in done.err
    assert acts(site) == []


def test_if_this_relays_answer_is_lost_the_fleet_still_decides(site: Site, relay: RelayTwin) -> None:
    site.home.act("approve", A)
    relay.see(A, certificate("CN=laptop"), standing="approved")
    relay.hangs_up = True
    done = site.ctl("revoke", A)
    assert done.status == 0, "this relay follows the fleet"
    assert acts(site)[-1].verb == "revoke"


def test_what_the_fleet_never_approved_is_rejected_for_all(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"), standing="approved")
    assert site.ctl("revoke", A).status == 0
    assert [act.verb for act in acts(site)] == ["reject"]


def test_what_this_relay_does_not_know_is_revoked_by_the_fleet(site: Site, relay: RelayTwin) -> None:
    site.home.act("approve", A)
    done = site.ctl("revoke", A, "--json")
    assert done.status == 0
    assert relay.entries[A]["standing"] == "revoked", "this relay was waited for"
    assert [act.verb for act in acts(site)] == ["approve", "revoke"]
    [entry] = done.json["decided"]
    assert (entry["fingerprint"], entry["standing"]) == (A, "revoked")


def test_reject_goes_the_same_way(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"))
    site.tells("mx2", own_decision("mx2", B, "approve"))
    assert site.ctl("reject", A, B).status == 0
    assert {act.verb: act.fingerprints for act in acts(site)} == {"reject": (A,), "revoke": (B,)}


def test_undo_and_review_decide_for_the_fleet(site: Site, relay: RelayTwin) -> None:
    site.home.act("approve", A)
    relay.see(A, certificate("CN=laptop"), standing="approved")
    relay.records = [{"fingerprint": A, "verb": "approve", "by": "x", "at": "2026-11-26T01:00:00Z", "note": ""}]
    assert site.ctl("undo", "--yes").status == 0
    assert acts(site)[-1].verb == "revoke"


def test_undo_takes_back_the_callers_own_last_act_and_nobody_elses(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    assert site.ctl("approve", name).status == 0
    site.home.act("approve", A, by="bob")
    done = site.ctl("undo", "--yes")
    assert done.status == 0, done.err
    act = acts(site)[-1]
    assert (act.verb, act.fingerprints, act.by) == ("revoke", (name,), "alice")
    site.home.act("approve", name, by="bob")
    again = site.ctl("undo", "--yes")
    assert again.status == 7
    assert "there is a later decision on it" in again.err


def test_without_the_fleet_undo_takes_back_what_was_decided_here(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"))
    assert site.ctl("approve", A, "--here").status == 0
    shutil.rmtree(site.home.directory)
    assert site.ctl("undo", "--yes").status == 6, "the fleet does not know it"
    assert relay.entries[A]["standing"] == "revoked"


# Authorities


def test_an_authority_is_approved_for_the_fleet_and_withdrawn(site: Site, relay: RelayTwin, tmp_path: Path) -> None:
    authority = Signer("Site CA")
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.pem)
    done = site.ctl("authority", "add", file, "--name", "*.example.org", "--note", "the site's")
    assert done.status == 0
    [act] = acts(site)
    _, pattern = act.detail.split(" ")
    assert (act.verb, pattern, act.note) == ("authorize", "*.example.org", "the site's")
    assert "Decided for the fleet: act 1 (authorize)." in done.out
    gone = site.ctl("authority", "withdraw", act.fingerprints[0][:16])
    assert gone.status == 0
    assert acts(site)[-1].verb == "withdraw"
    assert site.ctl("authority", "withdraw", "00000000").status == 3
    assert site.ctl("authority", "add", file, "--crl", file).status == 2


def test_a_clients_certificate_is_an_authority_with_ca_only(site: Site, relay: RelayTwin, tmp_path: Path) -> None:
    authority = Signer("Site CA")
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.pem)
    site.home.act("approve", authority.fingerprint)
    done = site.ctl("authority", "add", file)
    assert done.status == 7
    assert "--ca overrides this" in done.err
    assert site.ctl("authority", "add", file, "--ca").status == 0


# Without a fleet


@pytest.mark.parametrize("verb", ["approve", "reject", "revoke", "undo", "review", "pending", "status"])
def test_without_a_fleet_nothing_of_it_is_imported(tmp_path: Path, verb: str) -> None:
    (tmp_path / "eximcertd.toml").write_text(f'[control]\nsocket = "{tmp_path}/none"\n')
    call = [
        program("eximcertctl"),
        "--config",
        str(tmp_path / "eximcertd.toml"),
        verb,
        *([A] if verb[-1] != "w" else []),
    ]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert "eximcertd.control.client" in done.stderr, "the imports are listed"
    assert not re.findall(r"eximcertd\.(?:cli\.)?(?:fleet|acts)\S*", done.stderr)
