"""undo and review in a fleet."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from lab.entries import certificate
from lab.terminal import on_a_terminal

from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from lab.certificates import Identity
    from lab.desk import RelayTwin, Site

A = Fingerprint("A" * 64)


def test_review_decides_for_the_fleet(site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint) -> None:
    site.sees("mx2", name, alice.der)
    relay.see(name, certificate("CN=laptop"))
    options = ("--config", str(site.config), "--key", str(site.home.key("alice")))
    shown = on_a_terminal(relay, *options, "review", answers=[("q quit: ", "a")], HOME=str(site.home.base))
    assert "Decided for the fleet: act 1 (approve)." in shown
    assert [(act.verb, act.fingerprints) for act in site.acts()] == [("approve", (name,))]
    assert relay.called("Decide") == []


def test_undo_decides_for_the_fleet(site: Site, relay: RelayTwin) -> None:
    site.home.act("approve", A)
    relay.see(A, certificate("CN=laptop"), standing="approved")
    relay.records = [{"fingerprint": A, "verb": "approve", "by": "x", "at": "2026-11-26T01:00:00Z", "note": ""}]
    assert site.ctl("undo", "--yes").status == 0
    assert site.acts()[-1].verb == "revoke"


def test_undo_takes_back_the_callers_own_last_act_and_nobody_elses(
    site: Site, relay: RelayTwin, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    assert site.ctl("approve", name).status == 0
    site.home.act("approve", A, by="bob")
    done = site.ctl("undo", "--yes")
    assert done.status == 0, done.err
    act = site.acts()[-1]
    assert (act.verb, act.fingerprints, act.by) == ("revoke", (name,), "alice")
    site.home.act("approve", name, by="bob")
    again = site.ctl("undo", "--yes")
    assert again.status == 7
    assert "there is a later decision on it" in again.err


def test_without_the_fleet_undo_takes_back_what_was_decided_here(site: Site, relay: RelayTwin) -> None:
    relay.see(A, certificate("CN=laptop"))
    assert site.ctl("approve", A, "--here").status == 0
    shutil.rmtree(site.home.directory)
    done = site.ctl("undo", "--yes")
    assert done.status == 6, "the fleet does not know it"
    assert "Your last decision for the fleet is not known, only that on this relay" in done.err
    assert str(site.home.directory) in done.err, "the reason"
    assert relay.entries[A]["standing"] == "revoked"
