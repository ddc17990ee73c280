"""eximcertctl fleet settle: what relays have decided on their own."""

from __future__ import annotations

import pytest
from lab.desk import RelayTwin, Site, own_decision
from lab.snapshots import BEGIN, NAMES, check
from lab.terminal import on_a_terminal

from eximcertd.fingerprint import Fingerprint, grouped
from eximcertd.text import columns

A, B, C = (Fingerprint(letter * 64) for letter in "ABC")
pytestmark = pytest.mark.usefixtures("utc")


def test_what_relays_decided_is_shown_with_what_every_answer_does_and_nothing_is_decided(site: Site) -> None:
    site.home.act("approve", A, by="bob")
    site.tells("mx2", own_decision("mx2", A, "revoke", note="stolen"), own_decision("mx2", B, "adopt", by="by hand"))
    site.tells("mx3", own_decision("mx3", A, "approve", by="dave", lost=True))
    done = site.ctl("fleet", "settle")
    assert done.status == 0
    refused, approved = done.out.split("1 fingerprint approved by relays on their own:")
    assert grouped(A) in refused
    assert "the fleet: approved by bob" in refused
    assert "revoked on mx2 by carol: stolen" in refused
    assert "approved on mx3 by dave (the fleet's database has lost the act)" in " ".join(refused.split())
    assert "later    they stay refused on those relays only, until somebody decides" in refused
    assert grouped(B) in approved
    assert "added on mx2 by hand" in approved
    assert site.home.desk().head().generation == 1


@pytest.mark.parametrize(("answer", "verb"), [("approve", "approve"), ("revoke", "revoke")])
def test_one_act_settles_a_set(site: Site, answer: str, verb: str) -> None:
    site.home.act("approve", A)
    mine = own_decision("mx2", A, "revoke", note="stolen")
    theirs = own_decision("mx3", A, "approve")
    site.tells("mx2", mine)
    site.tells("mx3", theirs)
    done = site.ctl("fleet", "settle", "--refused", answer, "--without-certificate", "--note", "asked carol")
    assert done.status == 6, "no eximcertd answers here"
    [_, act] = site.home.desk().acts(0, 9)
    assert (act.verb, act.note, act.fingerprints) == (verb, "asked carol", (A,))
    assert set(act.settles) == {mine.id, theirs.id}
    assert f"Decided for the fleet: act 2 ({verb}), which settles 2 own decisions of relays." in done.out
    assert site.ctl("fleet", "settle").out == "No relay has decided anything on its own.\n"


def test_what_only_relays_have_approved_is_approved_for_all(site: Site) -> None:
    site.tells("mx2", *(own_decision("mx2", Fingerprint(f"{number:064X}"), "approve") for number in range(30)))
    more = "and 10 more, to which the answer applies too: fleet settle --json prints them."
    assert more in site.ctl("fleet", "settle").out
    assert len(site.ctl("fleet", "settle", "--json").json["approved"]) == 30
    [answer] = site.ctl("fleet", "settle", "--approved", "approve", "--without-certificate", "--json").json
    assert len(answer["decided"]) == 30
    assert len(answer["fleet"]["acts"][0]["settles"]) == 30
    assert site.home.desk().own() == []


def test_it_is_said_that_a_relay_has_more_open_decisions_than_it_tells_at_once(site: Site) -> None:
    site.tells("mx2", own_decision("mx2", A, "approve"), own_decision("mx2", B, "approve"))
    more = "These may not be all own decisions of the relays: settle again afterwards."
    assert more not in site.ctl("fleet", "settle").err
    site.reports("mx2", own=3)
    for options in ([], ["--json"], ["--approved", "approve", "--without-certificate"]):
        assert more in site.ctl("fleet", "settle", *options).err


def test_it_is_said_that_one_run_settles_no_more_than_10000_own_decisions(site: Site) -> None:
    for relay in range(6):
        about = [Fingerprint(f"{number:064X}") for number in range(2000 * relay, 2000 * (relay + 1))]
        site.tells(f"mx{relay}", *(own_decision(f"mx{relay}", name, "approve") for name in about))
    done = site.ctl("fleet", "settle")
    assert "10,000 fingerprints approved by relays on their own" in done.out
    assert "settle again afterwards" in done.err


def test_a_revocation_that_a_relay_tells_as_an_approval_is_not_settled_unseen(site: Site) -> None:
    with RelayTwin(site) as relay:
        mine = relay.decides("revoke", A, note="stolen")
        site.tells("mx1", own_decision("mx1", A, "approve", id=mine.id))
        done = site.ctl("fleet", "settle", "--approved", "approve", "--without-certificate")
        assert done.status == 7
        assert "is revoked on mx1 by carol: stolen" in done.err
    assert site.home.desk().head().generation == 0


def test_a_rule_refuses_an_approval_in_settle_too(site: Site) -> None:
    site.tells("mx2", own_decision("mx2", A, "approve"))
    done = site.ctl("fleet", "settle", "--approved", "approve")
    assert done.status == 7
    assert "has no known certificate" in done.err


@pytest.mark.parametrize("width", [80, 120])
def test_what_relays_decided_fits_the_terminal(site: Site, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for number, name in enumerate(NAMES):
        verb = ("approve", "reject", "revoke", "adopt")[number % 4]
        about = Fingerprint(f"{number % 4:064X}")
        told = own_decision(f"mx{number}", about, verb, by=name, note=name, at=int(BEGIN.timestamp()) * 1000)
        site.tells(f"mx{number}", told)
    done = site.ctl("fleet", "settle")
    assert all(columns(line) <= width for line in done.out.splitlines())
    check(f"fleet-settle-{width}", done.out)


def test_on_a_terminal_one_question_is_asked_for_each_set(site: Site) -> None:
    site.tells(
        "mx2", own_decision("mx2", A, "reject"), own_decision("mx2", B, "revoke"), own_decision("mx2", C, "approve")
    )
    with RelayTwin(site) as relay:
        options = ("--config", str(site.config), "--key", str(site.home.key("alice")))
        question = "Answer (approve, revoke, later) [later]: "
        answers = [(question, "revoke\n"), (question, "\n")]
        shown = on_a_terminal(relay, *options, "fleet", "settle", answers=answers, HOME=str(site.home.base))
    assert "2 fingerprints refused by relays on their own" in shown
    assert "1 fingerprint approved by relays on their own" in shown
    assert "Exim honours it" in shown
    assert [(act.verb, act.fingerprints) for act in site.home.desk().acts(0, 9)] == [("reject", (A, B))]
    assert [one.fingerprint for one in site.home.desk().own()] == [C]
