"""eximcertctl fleet: the relays, the one queue, what relays have decided on their own, the chain; as it is seen."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab.authorities import Signer
from lab.ctl import ctl
from lab.daemon import program
from lab.desk import RelayTwin, Site, own_decision
from lab.fleet import next_act
from lab.snapshots import BEGIN, NAMES, check
from lab.terminal import on_a_terminal
from lab.twins import Twin, certificate

from eximcertd.acts.act import Head
from eximcertd.cli.fleet.pending import waiting
from eximcertd.fingerprint import Fingerprint, grouped, of_der
from eximcertd.fleet.remote import Sighted
from eximcertd.text import columns

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

A, B, C = (Fingerprint(letter * 64) for letter in "ABC")
NASTY = "\x1b[2Jevil\u202e"
pytestmark = pytest.mark.usefixtures("utc")


# The relays


@pytest.mark.parametrize("width", [80, 120])
def test_the_relays_are_a_table_as_wide_as_the_terminal_with_what_is_wrong_below(
    site: Site, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    site.home.act("approve", A)
    site.home.act("approve", B)
    site.reports("mx1", live=2)
    site.reports("mx2.a-long-name.example.org", live=1, own=12, skew=45_500)
    site.reports(
        "mx3", live=0, skew=12 * 3_600_000, problem="act 1 is held back: it would remove 40 of 80 certificates"
    )
    done = site.ctl("fleet")
    assert done.status == 0
    assert all(columns(line) <= width for line in done.out.splitlines())
    # A busy machine takes time between the relay's clock and the file's time.
    text = re.sub(r"\+(3\d|4\d)s", "+45s", re.sub(r"(3\d|4\d) s ahead", "45 s ahead", done.out))
    check(f"fleet-{width}", re.sub(r"4\d,\d\d\d s ahead", "43,200 s ahead", text))


def test_json_has_a_relay_with_all_that_the_fleet_knows_of_it(site: Site) -> None:
    site.home.act("approve", A)
    site.reports("mx2", own=3, skew=90_000, problem="the publication failed")
    found = site.ctl("fleet", "--json").json
    assert found["generation"] == 1
    [relay] = found["relays"]
    assert 88_000 < relay.pop("skew_ms") <= 90_000
    assert relay.pop("seen_at").endswith("Z")
    assert relay == {
        "relay": "mx2",
        "version": "0.1.0",
        "received": 0,
        "live": 0,
        "lag": 1,
        "clock": "wrong",
        "own": 3,
        "dropped": 0,
        "problem": "the publication failed",
    }


@pytest.mark.parametrize(("skew", "clock"), [(4_000, "right"), (6_000, "odd"), (59_000, "odd"), (62_000, "wrong")])
def test_a_clock_is_odd_above_five_seconds_and_wrong_above_a_minute(site: Site, skew: int, clock: str) -> None:
    site.reports("mx2", skew=skew)
    assert site.ctl("fleet", "--json").json["relays"][0]["clock"] == clock


def test_nothing_that_a_relay_says_reaches_the_terminal_raw(site: Site) -> None:
    site.tells("mx2", own_decision("mx2", A, "revoke", by=NASTY, note=NASTY))
    site.reports("mx2", problem=NASTY)
    for verb in ([], ["pending", "--all"], ["settle"]):
        for flags in ([], ["--json"]):
            done = site.ctl("fleet", *verb, *flags)
            assert done.status == 0
            assert not set(done.out + done.err) & set("\x1b\u202e")


def test_without_a_fleet_it_is_said_that_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "eximcertd.toml"
    file.write_text("")
    for verb in ([], ["pending"], ["settle"], ["check"]):
        done = ctl("--config", file, "fleet", *verb)
        assert done.status == 2
        assert "this machine belongs to no fleet" in done.err


@pytest.mark.parametrize(
    "verb",
    [["approve", A], ["reject", A], ["revoke", A], ["undo", "--yes"], ["review", "--json"], ["pending"], ["status"]],
)
def test_without_a_fleet_nothing_of_it_is_imported(tmp_path: Path, twin: Twin, verb: list[str]) -> None:
    twin.see(A, certificate("CN=laptop"), standing="approved" if verb[0] == "revoke" else "pending")
    twin.records = [{"fingerprint": A, "verb": "revoke", "by": "x", "at": "2026-11-26T01:00:00Z", "note": ""}]
    file = tmp_path / "eximcertd.toml"
    file.write_text(f'[control]\nsocket = "{twin.path}"\n')
    call = [program("eximcertctl"), "--config", str(file), *verb]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0, done.stderr
    assert "eximcertd.control.client" in done.stderr, "the imports are listed"
    assert not re.findall(r"eximcertd\.(?:cli\.)?(?:fleet|acts)\S*", done.stderr)


# The queue


def test_the_queue_is_one_over_all_relays_with_the_attempts_at_each(site: Site, alice: Identity) -> None:
    name = of_der(alice.der)
    site.sees("mx1", name, alice.der, attempts=3)
    site.sees("mx2", name, None, attempts=4)
    site.sees("mx2", B)
    done = site.ctl("fleet", "pending")
    row = done.out.splitlines()[1]
    assert row.startswith(f"{name[:16]}  laptop.alice.exam")
    assert "mx1 3, mx2 4" in row
    assert "1 fingerprint without a certificate: --all shows them." in done.out
    one, other = site.ctl("fleet", "pending", "--json").json
    assert {one["fingerprint"], other["fingerprint"]} == {name, B}
    entry = one if one["fingerprint"] == name else other
    assert entry["attempts"] == 7
    assert [(seen["relay"], seen["attempts"]) for seen in entry["relays"]] == [("mx1", 3), ("mx2", 4)]
    assert entry["certificate"]["subject"] == "CN=laptop.alice.example"
    assert "at mx1 3, mx2 4" in site.ctl("fleet", "pending", "--long").out


def test_a_certificate_is_what_its_der_says_and_never_a_relays_word(alice: Identity) -> None:
    name = of_der(alice.der)
    seen = [Sighted("mx2", A, 1, 0, 0, der=alice.der), Sighted("mx3", name, 1, 0, 0, der=alice.der)]
    claimed, real = sorted(waiting(seen), key=lambda one: one["fingerprint"] == name)
    assert claimed["certificate"] is None
    assert real["certificate"]["subject"] == "CN=laptop.alice.example"


def test_what_is_decided_does_not_wait_whatever_a_relay_reports(site: Site, alice: Identity) -> None:
    name = of_der(alice.der)
    site.sees("mx2", name, alice.der)
    site.home.act("reject", name)
    assert site.ctl("fleet", "pending").out == "No client is waiting.\n"


@pytest.mark.parametrize("width", [80, 120])
def test_the_queue_fits_the_terminal(site: Site, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for number, subject in enumerate(NAMES):
        der = Signer(subject[:60]).der
        at = (int(BEGIN.timestamp()) - 60 * number) * 1000
        for relay in [f"mx{one}.a-long-name.example.org" for one in range(3)][: number % 3 + 1]:
            site.sees(relay, of_der(der), der, attempts=10_000 * number + 1, at=at)
    done = site.ctl("fleet", "pending")
    assert all(columns(line) <= width for line in done.out.splitlines()[:8])
    assert all(line.endswith("?") for line in done.out.splitlines()[1:8])
    # The digits of made certificates are others each time.
    check(f"fleet-pending-{width}", re.sub(r"^[0-9A-F]{16}", "0" * 16, done.out, flags=re.MULTILINE))


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


# What relays have decided on their own


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


# The chain


def test_a_whole_chain_is_told_with_its_last_hash(site: Site) -> None:
    site.home.act("approve", A, B)
    last = site.home.act("revoke", B, by="bob")
    done = site.ctl("fleet", "check")
    assert done.status == 0
    assert "2 acts on 2 fingerprints: the chain is whole, each signed by one of the signers." in done.out
    assert f"Act 2 has the hash {last.hash()}" in done.out
    found = site.ctl("fleet", "check", "--json").json
    assert (found["acts"], found["signed"], found["problem"]) == (2, True, None)


def test_a_changed_act_is_found(site: Site) -> None:
    first = site.home.act("approve", A)
    site.home.act("approve", B)
    site.home.act("approve", C)
    forged = next_act(Head(1, first.hash()), "approve", "D" * 64, by="bob")
    site.home.file(2).write_bytes(forged.text())
    done = site.ctl("fleet", "check")
    assert done.status == 1
    assert "THE CHAIN IS BROKEN" in done.err


def test_an_act_of_a_person_who_is_no_signer_is_found(site: Site) -> None:
    site.home.act("approve", A, by="bob")
    lines = site.home.signers.read_text().splitlines()
    site.home.signers.write_text(f"{lines[0]}\n")
    done = site.ctl("fleet", "check", "--json")
    assert done.status == 1
    assert "act 1 by bob" in done.out


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
