"""The main job, end to end: real Exim, real clients, the real programs."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from lab.control import CallError, Control
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.smtp import ask, session
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity


def refused(exim: EximServer, who: Identity, daemon: Eximcertd) -> None:
    """Have a client refused, and wait until it is pending."""
    assert ask(exim.port, who).refused
    until(lambda: who.fingerprint in daemon.entries("pending"), f"{who.fingerprint} is pending")


@pytest.mark.parametrize("form", ["list", "directory", "auto"])
def test_refused_seen_approved_relayed_revoked_refused(exim: EximServer, alice: Identity, form: str) -> None:
    with Eximcertd(exim, {"allowlist": {"form": form}}) as daemon:
        refused(exim, alice, daemon)
        entry = daemon.entries("pending")[alice.fingerprint]
        assert entry["certificate"]["subject"] == "CN=laptop.alice.example"
        assert entry["from"]["helo"] == "client.lab.example"
        done = daemon.ctl("approve", alice.fingerprint[:8].lower(), "--note", "my laptop")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Exim honours it" in done.stdout
        assert ask(exim.port, alice).accepted
        assert not daemon.entries("pending")
        assert daemon.ctl("revoke", alice.fingerprint).returncode == 0
        assert ask(exim.port, alice).refused
        assert [one["verb"] for one in daemon.json("history", alice.fingerprint)] == ["revoke", "approve"]


def test_only_the_approved_one_relays(exim: EximServer, alice: Identity, mallory: Identity) -> None:
    with Eximcertd(exim) as daemon:
        refused(exim, alice, daemon)
        refused(exim, mallory, daemon)
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        assert ask(exim.port, alice).accepted
        assert ask(exim.port, mallory).refused
        assert ask(exim.port, None).refused


def test_a_rejected_one_is_counted_on_and_never_shown_as_pending(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        refused(exim, alice, daemon)
        assert daemon.ctl("reject", alice.fingerprint).returncode == 0
        assert ask(exim.port, alice).refused
        until(lambda: daemon.entries()[alice.fingerprint]["attempts"] == 2, "the second attempt is counted")
        assert not daemon.entries("pending")


def test_in_the_directory_form_a_decision_counts_for_the_next_recipient_of_an_open_session(
    exim: EximServer, alice: Identity
) -> None:
    with Eximcertd(exim, {"allowlist": {"form": "directory"}}) as daemon, session(exim.port, alice) as open_one:
        assert open_one.rcpt().refused
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        assert open_one.rcpt().accepted
        assert daemon.ctl("revoke", alice.fingerprint).returncode == 0
        assert open_one.rcpt().refused


def test_counts_and_decisions_outlive_a_kill(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        refused(exim, alice, daemon)
        daemon.ctl("approve", alice.fingerprint)
        daemon.kill()
        assert ask(exim.port, alice).accepted
        daemon.start()
        entry = daemon.entries()[alice.fingerprint]
        assert (entry["standing"], entry["attempts"]) == ("approved", 1)
        assert daemon.status()["allowlist"]["live"]


def test_attempts_made_while_it_was_down_are_seen(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        daemon.stop()
        ask(exim.port, alice)
        daemon.start()
        until(lambda: alice.fingerprint in daemon.entries("pending"), "what was written meanwhile is seen")


def test_a_configuration_that_somebody_broke_gets_no_hup_and_the_decision_goes_live_once_it_is_mended(
    exim: EximServer, alice: Identity
) -> None:
    with Eximcertd(exim) as daemon:
        refused(exim, alice, daemon)
        whole = exim.configuration.read_text()
        exim.configuration.write_text(whole + "\nthis is no configuration\n")
        done = daemon.ctl("approve", alice.fingerprint)
        assert done.returncode == 6
        assert exim.alive()
        assert not daemon.status()["allowlist"]["live"]
        exim.configuration.write_text(whole)
        until(lambda: daemon.status()["allowlist"]["live"], "the decision is live", limit=30)
        assert ask(exim.port, alice).accepted


def test_where_no_exim_runs_the_answer_says_so(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        refused(exim, alice, daemon)
        exim.stop()
        done = daemon.ctl("approve", alice.fingerprint)
        assert done.returncode == 0
        assert "Exim is not running." in done.stdout
        exim.start()
        assert ask(exim.port, alice).accepted


def test_a_hand_edit_is_adopted_and_an_old_file_lets_nobody_back_in(
    exim: EximServer, alice: Identity, mallory: Identity
) -> None:
    with Eximcertd(exim) as daemon:
        for one in (alice, mallory):
            refused(exim, one, daemon)
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        backup = exim.macro_file.read_text()
        assert daemon.ctl("revoke", alice.fingerprint).returncode == 0
        exim.macro_file.write_text(backup.replace(alice.fingerprint, f"{alice.fingerprint} : {mallory.fingerprint}"))
        daemon.restart()
        standings = {name: entry["standing"] for name, entry in daemon.entries().items()}
        assert standings == {alice.fingerprint: "revoked", mallory.fingerprint: "approved"}
        assert ask(exim.port, alice).refused
        assert ask(exim.port, mallory).accepted


def test_a_removed_one_is_reported_and_settled_by_a_person(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        refused(exim, alice, daemon)
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        exim.macro_file.write_text("RELAY_FROM_CERTS =\n")
        assert daemon.status()["allowlist"]["removed_by_hand"] == [alice.fingerprint]
        until(lambda: ask(exim.port, alice).refused, "the person's file counts")
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        assert ask(exim.port, alice).accepted
        assert daemon.status()["allowlist"]["removed_by_hand"] == []


def test_decisions_are_carried_to_another_machine(exim: EximServer, alice: Identity, mallory: Identity) -> None:
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", alice.fingerprint, mallory.fingerprint).returncode == 0
        assert daemon.ctl("revoke", mallory.fingerprint).returncode == 0
        exported = daemon.ctl("export")
        assert exported.returncode == 0
        with EximServer(trusted=[alice, mallory]) as second, Eximcertd(second) as there:
            assert there.ctl("import", given=exported.stdout).returncode == 0
            until(lambda: there.status()["allowlist"]["live"], "what was imported is live")
            assert ask(second.port, alice).accepted
            assert ask(second.port, mallory).refused
            assert there.ctl("export").stdout == exported.stdout


def test_a_thousand_approved_from_standard_input_are_one_publication_and_one_reload(exim: EximServer) -> None:
    with Eximcertd(exim) as daemon:
        before = exim.log.read_text().count("SIGHUP received")
        revision = daemon.status()["allowlist"]["revision"]
        given = "".join(f"{n:064X}\n" for n in range(1000))
        assert daemon.ctl("approve", "-", "--without-certificate", given=given).returncode == 0
        assert exim.log.read_text().count("SIGHUP received") == before + 1
        assert daemon.status()["allowlist"]["revision"] == revision + 1


def test_with_it_down_root_throws_somebody_out_and_the_ledger_learns_of_it(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        daemon.stop()
        done = daemon.ctl("revoke", "--offline", alice.fingerprint)
        assert done.returncode == 0, done.stderr
        assert ask(exim.port, alice).refused
        daemon.start()
        assert daemon.entries()[alice.fingerprint]["standing"] == "revoked"
        assert ask(exim.port, alice).refused


def test_a_certificate_that_comes_later_makes_a_full_entry(exim: EximServer, alice: Identity, tmp_path: Path) -> None:
    with Eximcertd(exim, {"certificates": {"directory": str(tmp_path)}}) as daemon:
        ask(exim.port, alice)
        until(lambda: daemon.status()["counts"]["unmatched"] == 1, "it is seen")
        assert daemon.entries("pending")[alice.fingerprint]["certificate"] is None
        (tmp_path / "alice.pem").write_bytes(alice.certificate.read_bytes())
        until(lambda: daemon.entries("pending")[alice.fingerprint]["certificate"], "it has its certificate")


def test_times_in_json_are_rfc_3339_in_utc_and_the_listing_is_the_contracts(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        refused(exim, alice, daemon)
        [entry] = json.loads(daemon.ctl("pending", "--json").stdout)
        assert {
            "fingerprint",
            "standing",
            "certificate",
            "attempts",
            "first_seen",
            "last_seen",
            "from",
            "decision",
        } <= (set(entry))
        assert entry["first_seen"].endswith("Z")
        assert entry["decision"] is None


def test_a_damaged_ledger_is_kept_and_rebuilt_from_what_exim_honours(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        daemon.stop()
        for file in (daemon.state / "ledger").glob("ledger.sqlite*"):
            file.write_bytes(b"garbage" * 1000)
        daemon.start()
        assert daemon.entries()[alice.fingerprint]["standing"] == "approved"
        assert ask(exim.port, alice).accepted
        assert list((daemon.state / "ledger").glob("ledger.sqlite.damaged-*"))
        assert "damaged" in daemon.words()


def test_a_ledger_of_a_newer_version_ends_it_with_a_sentence_and_is_not_touched(exim: EximServer) -> None:
    with Eximcertd(exim) as daemon:
        daemon.stop()
        with sqlite3.connect(daemon.state / "ledger" / "ledger.sqlite") as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
        before = exim.macro_file.read_bytes()
        daemon.spawn()
        assert daemon.wait() == 1
        assert "newer eximcertd" in daemon.words()
        assert exim.macro_file.read_bytes() == before


def test_a_clock_that_ran_ahead_does_not_undo_a_revocation_made_offline(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim, {"allowlist": {"form": "directory"}}) as daemon:
        ahead = (datetime.now(UTC) + timedelta(seconds=50)).isoformat()
        record = {"fingerprint": alice.fingerprint, "verb": "approve", "by": "bob", "at": ahead, "note": ""}
        assert daemon.ctl("import", given=json.dumps(record) + "\n").returncode == 0
        until(lambda: ask(exim.port, alice).accepted, "it is live")
        daemon.stop()
        assert daemon.ctl("revoke", "--offline", alice.fingerprint).returncode == 0
        daemon.start()
        assert ask(exim.port, alice).refused
        assert daemon.entries()[alice.fingerprint]["standing"] == "revoked"


def test_what_was_decided_after_a_revocation_made_offline_outlives_a_damaged_ledger(
    exim: EximServer, alice: Identity
) -> None:
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        daemon.stop()
        assert daemon.ctl("revoke", "--offline", alice.fingerprint).returncode == 0
        daemon.start()
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        daemon.stop()
        with (daemon.state / "offline").open("a") as stream:
            stream.write('{"request": "torn')  # a power cut
        for file in (daemon.state / "ledger").glob("ledger.sqlite*"):
            file.write_bytes(b"garbage" * 1000)
        daemon.start()
        assert ask(exim.port, alice).accepted
        assert daemon.entries()[alice.fingerprint]["standing"] == "approved"


def test_a_request_id_that_was_used_for_another_decision_is_refused(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon, Control(daemon.socket) as control:

        def decide(verb: str, request: str) -> list[str]:
            decided = control.call(
                "Decide", verb=verb, fingerprints=[alice.fingerprint], note="", insist=[], request=request
            )["decided"]
            return [entry["standing"] for entry in decided]

        assert decide("approve", "one") == ["approved"]
        assert decide("approve", "one") == ["approved"]
        for request in ("one", ""):
            with pytest.raises(CallError, match="request"):
                decide("revoke", request)
        assert decide("revoke", "two") == ["revoked"]
        assert ask(exim.port, alice).refused


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
def test_a_time_that_cannot_be_is_refused(exim: EximServer, alice: Identity, at: str) -> None:
    with Eximcertd(exim) as daemon:
        record = {"fingerprint": alice.fingerprint, "verb": "approve", "by": "bob", "at": at, "note": ""}
        assert daemon.ctl("import", given=json.dumps(record) + "\n").returncode == 2
        assert daemon.ctl("list").returncode == 0


def test_the_login_user_behind_root_is_believed_of_root_alone(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon, Control(daemon.socket) as control:
        control.call(
            "Decide", verb="approve", fingerprints=[alice.fingerprint], note="", insist=[], request="1",
            by="alice (via root)",
        )  # fmt: skip
        assert daemon.entries()[alice.fingerprint]["decision"]["by"] == "alice (via root)"
