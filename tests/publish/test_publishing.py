"""A publication from outside: the real eximcertd-publish, a real Exim, and what its clients get."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from lab.exim import EximServer
from lab.publishing import Publisher
from lab.smtp import ask, session

if TYPE_CHECKING:
    from lab.certificates import Identity

A, B, C = "AA" * 32, "0B" * 32, "C0" * 32


@pytest.fixture
def publisher(exim: EximServer) -> Publisher:
    return Publisher(exim)


def test_a_client_relays_after_it_is_published_and_not_after_it_is_taken_off(
    exim: EximServer, publisher: Publisher, alice: Identity, mallory: Identity
) -> None:
    assert ask(exim.port, alice).refused
    live = publisher.list(alice.fingerprint)
    assert (live.outcome, live.exim_pid, live.message) == ("live", exim.pid, "")
    assert live.found is not None
    assert (live.found.form, live.found.fingerprints, live.found.due) == ("list", (alice.fingerprint,), False)
    assert live.found.digest == hashlib.sha256(exim.macro_file.read_bytes()).hexdigest()
    assert ask(exim.port, alice).accepted
    assert ask(exim.port, mallory).refused
    assert publisher.list().outcome == "live"
    assert ask(exim.port, alice).refused


def test_the_same_list_again_is_live_without_a_reload(exim: EximServer, publisher: Publisher) -> None:
    first = publisher.list(A)
    again = publisher.list(A)
    assert (again.outcome, again.exim_pid) == ("live", exim.pid)
    assert first.loaded_at is not None
    assert again.loaded_at == pytest.approx(first.loaded_at, abs=0.01)
    assert exim.reloads() == 1


def test_a_mark_that_was_left_is_honoured_even_when_the_list_is_right_already(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.list(alice.fingerprint)
    exim.allow([])  # as if the publisher had been killed between rename and HUP: Exim still has the old list
    publisher.beside("reload-due").touch()
    assert ask(exim.port, alice).accepted
    verified = publisher.verify()
    assert verified.found is not None
    assert verified.found.due
    assert publisher.list().outcome == "live"
    assert ask(exim.port, alice).refused
    assert not publisher.beside("reload-due").exists()


def test_a_hand_edit_that_exim_has_not_loaded_is_due_without_any_mark(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.list()
    edited = exim.macro_file.with_name("edited")
    edited.write_text(exim.macro_file.read_text().replace(" =", f" = \\\n{alice.fingerprint}"))
    edited.rename(exim.macro_file)
    found = publisher.verify().found
    assert found is not None
    assert (found.fingerprints, found.due) == ((alice.fingerprint,), True)
    assert publisher.list(alice.fingerprint).outcome == "live"
    assert exim.reloads() == 2
    assert ask(exim.port, alice).accepted


def test_verify_tells_what_stands_and_changes_nothing(exim: EximServer, publisher: Publisher) -> None:
    exim.macro_file.write_text(f"# the laptop\nRELAY_FROM_CERTS = {A.lower()} : {B}\n")
    before = {path.name: path.read_bytes() for path in exim.etc.iterdir() if path.suffix != ".lock"}
    verified = publisher.verify()
    assert (verified.outcome, verified.exim_pid) == ("verified", exim.pid)
    assert verified.found is not None
    assert (verified.found.fingerprints, verified.found.corrected) == ((A, B), (A,))
    assert verified.found.comments == ("# the laptop",)
    assert {path.name: path.read_bytes() for path in exim.etc.iterdir() if path.suffix != ".lock"} == before
    assert exim.reloads() == 0


def test_a_file_that_somebody_changed_meanwhile_is_left_alone_and_shown(exim: EximServer, publisher: Publisher) -> None:
    digest = hashlib.sha256(exim.macro_file.read_bytes()).hexdigest()
    exim.macro_file.write_text(f"RELAY_FROM_CERTS = {C}\n")
    changed = publisher.list(A, standing=digest)
    assert changed.outcome == "changed"
    assert changed.found is not None
    assert changed.found.fingerprints == (C,)
    assert exim.macro_file.read_text() == f"RELAY_FROM_CERTS = {C}\n"
    assert publisher.list(A, C, standing=changed.found.digest).outcome == "live"


def test_comments_are_kept_and_lower_case_is_corrected(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    exim.macro_file.write_text(f"# first \\\nRELAY_FROM_CERTS = \\\n# second\n{alice.fingerprint.lower()} : \\\n{A}\n")
    assert publisher.list(alice.fingerprint, A).outcome == "live"
    assert ask(exim.port, alice).accepted
    found = publisher.verify().found
    assert found is not None
    assert found.comments == ("# first \\", "# second")
    assert not found.corrected


@pytest.mark.parametrize("line", ["perl_startup = 1", "OTHER = x", f"RELAY_FROM_CERTS = {B} # laptop"])
def test_a_foreign_line_stops_the_publication_with_the_line_shown(
    exim: EximServer, publisher: Publisher, line: str
) -> None:
    exim.macro_file.write_text(f"RELAY_FROM_CERTS = {A}\n{line}\n")
    refused = publisher.list(A, B)
    assert (refused.outcome, refused.step, refused.found) == ("refused", "standing", None)
    assert line[:12] in refused.message
    assert line in exim.macro_file.read_text()
    assert exim.reloads() == 0


def test_the_first_publication_makes_the_file_that_exim_already_includes(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    exim.macro_file.unlink()
    absent = publisher.verify()
    assert (absent.outcome, absent.step) == ("failed", "judge")
    assert absent.found is not None
    assert (absent.found.form, absent.found.digest) == ("absent", "-")
    assert publisher.list(alice.fingerprint, standing="-").outcome == "live"
    assert ask(exim.port, alice).accepted


@pytest.mark.parametrize("before", [f"{A}\n", "\\", " \\\n"])
def test_a_file_that_breaks_the_configuration_by_its_end_is_mended(
    exim: EximServer, publisher: Publisher, before: str
) -> None:
    exim.macro_file.write_text(f"RELAY_FROM_CERTS = {before}")
    assert publisher.list(A).outcome == "live"
    assert publisher.verify().outcome == "verified"


def test_a_configuration_that_somebody_broke_gets_no_hup_and_the_decision_waits(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    before = exim.macro_file.read_bytes()
    exim.break_configuration()
    failed = publisher.list(alice.fingerprint)
    assert (failed.outcome, failed.step) == ("failed", "judge")
    assert "no_such_option" in failed.exim
    assert exim.macro_file.read_bytes() == before
    assert exim.reloads() == 0
    assert ask(exim.port, alice).refused
    exim.configure()
    assert publisher.list(alice.fingerprint).outcome == "live"
    assert ask(exim.port, alice).accepted


def test_a_mark_does_not_send_a_hup_on_a_broken_configuration_either(exim: EximServer, publisher: Publisher) -> None:
    publisher.list(A)
    publisher.beside("reload-due").touch()
    exim.break_configuration()
    failed = publisher.list(A)
    assert (failed.outcome, failed.step) == ("failed", "judge")
    assert failed.found is not None
    assert failed.found.due
    assert exim.alive()
    assert exim.reloads() == 1


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_macro_that_rewrites_fingerprints_is_found_and_named(alice: Identity, where: str) -> None:
    pairs = (alice.fingerprint[at : at + 2] for at in range(63))
    name = next(pair for pair in pairs if pair[0].isalpha() and pair != "CE")  # it is in RELAY_FROM_CERTS
    line = f"{name} = /etc/ssl/ca\n"
    before, main = (line, "") if where == "before" else ("", line)
    with EximServer(trusted=[alice], before=before, main=main) as exim:
        publisher = Publisher(exim)
        failed = publisher.list(alice.fingerprint)
        assert (failed.outcome, failed.step, failed.rewritten_by) == ("failed", "judge", name)
        assert exim.reloads() == 0
        publisher.allow(alice.fingerprint)
        assert publisher.switch_to_directory().outcome == "live"
        assert publisher.verify().outcome == "verified"
        assert ask(exim.port, alice).accepted


def test_a_file_that_exim_does_not_include_is_told(exim: EximServer, publisher: Publisher) -> None:
    publisher.configure({"allowlist": {"file": str(exim.etc / "elsewhere")}})
    failed = publisher.list(A)
    assert (failed.outcome, failed.step) == ("failed", "judge")
    assert "is this the file" in failed.message


def test_where_no_daemon_runs_the_list_stands_and_the_mark_stays_until_one_has_it(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    exim.stop()
    stands = publisher.list(alice.fingerprint)
    assert stands.outcome == "not-running"
    assert stands.found is not None
    assert (stands.found.fingerprints, stands.found.due) == ((alice.fingerprint,), True)
    exim.start()
    assert ask(exim.port, alice).accepted
    assert publisher.list(alice.fingerprint).outcome == "live"


def test_a_pid_file_that_a_crash_left_behind_names_no_daemon(exim: EximServer, publisher: Publisher) -> None:
    exim.kill()
    assert exim.pid_file.exists()
    assert publisher.list(A).outcome == "not-running"


def test_without_a_daemon_to_signal_the_list_is_live_at_once(exim: EximServer, publisher: Publisher) -> None:
    publisher.configure({"exim": {"reload": "none"}})
    assert publisher.list(A).outcome == "live"
    assert exim.reloads() == 0


def test_open_sessions_and_queued_connections_live_on(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    with session(exim.port, alice) as opened:
        assert publisher.list(alice.fingerprint).outcome == "live"
        assert opened.rcpt().refused  # the old list, until it ends
    assert ask(exim.port, alice).accepted


def test_the_directory_form_is_judged_by_lookups_as_exims_user(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    missing = publisher.switch_to_directory()
    assert missing.outcome == "failed"
    publisher.allow(alice.fingerprint)
    publisher.allowed.chmod(0o711)
    unreadable = publisher.switch_to_directory()
    assert (unreadable.outcome, unreadable.step) == ("failed", "judge")
    assert "0755" in unreadable.message
    assert ask(exim.port, alice).refused
    publisher.allowed.chmod(0o755)
    live = publisher.switch_to_directory()
    assert live.outcome == "live"
    assert live.found is not None
    assert live.found.form == "directory"
    assert ask(exim.port, alice).accepted
    publisher.allowed.chmod(0o700)
    assert publisher.verify().outcome == "failed"


def test_other_names_in_the_directory_neither_count_nor_harm(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.allow()
    (publisher.allowed / alice.fingerprint).mkdir()
    (publisher.allowed / A).symlink_to("/etc/passwd")
    os.mkfifo(publisher.allowed / B)
    (publisher.allowed / "README").touch()
    assert publisher.switch_to_directory().outcome == "live"
    assert ask(exim.port, alice).refused


def test_a_change_of_form_can_be_undone(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    publisher.allow(alice.fingerprint)
    assert publisher.list(alice.fingerprint).outcome == "live"
    for _ in range(2):
        assert publisher.switch_to_directory().outcome == "live"
        assert ask(exim.port, alice).accepted
        assert publisher.list(alice.fingerprint).outcome == "live"
        assert ask(exim.port, alice).accepted


def test_a_long_list_is_published_and_honoured(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    many = [f"{index:064X}" for index in range(5000)]
    assert publisher.list(*many, alice.fingerprint).outcome == "live"
    assert ask(exim.port, alice).accepted
