"""reject and revoke in a fleet: this relay at once, then the fleet."""

from __future__ import annotations

import shutil

from lab.desk import RelayTwin, Site, own_decision
from lab.entries import certificate

from eximcertd.fingerprint import Fingerprint

A, B = (Fingerprint(letter * 64) for letter in "AB")


def test_revoke_is_done_here_at_once_and_then_by_the_fleet(site: Site, relay: RelayTwin) -> None:
    site.home.act("approve", A)
    site.ctl("fleet", "accept", "1")
    relay.see(A, certificate("CN=laptop"), standing="approved")
    done = site.ctl("revoke", A[:8], "--note", "stolen")
    assert done.status == 0
    assert [sent["verb"] for sent in relay.called("Decide")] == ["revoke"]
    act = site.acts()[-1]
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


def test_what_this_relay_does_not_know_is_not_called_unknown_while_the_fleet_does_not_answer(
    site: Site, relay: RelayTwin
) -> None:
    shutil.rmtree(site.home.directory)
    done = site.ctl("revoke", A[:16])
    assert done.status == 4
    assert str(site.home.directory) in done.err


def test_a_person_whose_key_is_no_signers_revokes_here_and_it_stays_open(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"), standing="approved")
    site.home.make_key("mallory")
    done = site.ctl("revoke", A, who="mallory")
    assert done.status == 6
    assert relay.entries[A]["standing"] == "revoked"
    assert "it may not decide" in done.err
    assert site.acts() == []


def test_if_this_relays_answer_is_lost_the_fleet_still_decides(site: Site, relay: RelayTwin) -> None:
    site.home.act("approve", A)
    relay.see(A, certificate("CN=laptop"), standing="approved")
    relay.hangs_up = True
    done = site.ctl("revoke", A)
    assert done.status == 0, "this relay follows the fleet"
    assert site.acts()[-1].verb == "revoke"


def test_what_the_fleet_never_approved_is_rejected_for_all(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"), standing="approved")
    assert site.ctl("revoke", A).status == 0
    assert [act.verb for act in site.acts()] == ["reject"]


def test_what_this_relay_does_not_know_is_revoked_by_the_fleet(site: Site, relay: RelayTwin) -> None:
    site.home.act("approve", A)
    done = site.ctl("revoke", A, "--json")
    assert done.status == 0
    assert relay.entries[A]["standing"] == "revoked", "this relay was waited for"
    assert [act.verb for act in site.acts()] == ["approve", "revoke"]
    [entry] = done.json["decided"]
    assert (entry["fingerprint"], entry["standing"]) == (A, "revoked")


def test_reject_goes_the_same_way(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"))
    site.tells("mx2", own_decision("mx2", B, "approve"))
    assert site.ctl("reject", A, B).status == 0
    assert {act.verb: act.fingerprints for act in site.acts()} == {"reject": (A,), "revoke": (B,)}
