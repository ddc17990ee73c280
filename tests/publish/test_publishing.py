"""A publication from outside: the real programs, a real Exim, and what its clients get."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab.exim import EximServer
from lab.publishing import Publisher
from lab.smtp import ask, session

from eximcertd.publication.ask import encode
from eximcertd.publish import transaction
from eximcertd.publish.program import load
from eximcertd.publish.request import FIRST_LINE, Request

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
    live = publisher.carry(alice.fingerprint)
    assert (live.outcome, [daemon.pid for daemon in live.daemons], live.message) == ("live", [exim.pid], "")
    assert live.found is not None
    assert (live.found.form, live.found.fingerprints) == ("list", (alice.fingerprint,))
    assert live.found.digest == hashlib.sha256(exim.macro_file.read_bytes()).hexdigest()
    assert ask(exim.port, alice).accepted
    assert ask(exim.port, mallory).refused
    assert publisher.carry().outcome == "live"
    assert ask(exim.port, alice).refused


def test_the_same_list_again_is_live_without_a_reload(exim: EximServer, publisher: Publisher) -> None:
    publisher.carry(A)
    again = publisher.carry(A)
    assert (again.outcome, [daemon.pid for daemon in again.daemons]) == ("live", [exim.pid])
    assert exim.reloads() == 1


def test_a_file_that_exim_was_not_seen_to_load_is_loaded_though_the_list_is_right_already(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.carry(alice.fingerprint)
    assert publisher.list().outcome == "done"  # killed between write and load: Exim still has the old list
    assert ask(exim.port, alice).accepted
    assert publisher.carry().outcome == "live"
    assert ask(exim.port, alice).refused


def test_read_tells_what_stands_and_changes_nothing(exim: EximServer, publisher: Publisher) -> None:
    exim.macro_file.write_text(f"# the laptop\nRELAY_FROM_CERTS = {A.lower()} : {B}\n")
    before = {path.name: path.read_bytes() for path in exim.etc.iterdir() if path.suffix != ".lock"}
    answer = publisher.read()
    assert (answer.outcome, answer.changed, answer.file) == ("done", False, str(exim.macro_file))
    assert answer.found is not None
    assert (answer.found.fingerprints, answer.found.corrected) == ((A, B), (A,))
    assert answer.found.comments == ("# the laptop",)
    status = exim.macro_file.stat()
    assert (answer.found.inode, answer.found.ctime_ns) == (status.st_ino, status.st_ctime_ns)
    assert {path.name: path.read_bytes() for path in exim.etc.iterdir() if path.suffix != ".lock"} == before
    assert exim.reloads() == 0


def test_a_file_that_somebody_changed_meanwhile_is_left_alone_and_shown(exim: EximServer, publisher: Publisher) -> None:
    digest = hashlib.sha256(exim.macro_file.read_bytes()).hexdigest()
    exim.macro_file.write_text(f"RELAY_FROM_CERTS = {C}\n")
    changed = publisher.list(A, expected=digest)
    assert changed.outcome == "changed"
    assert changed.found is not None
    assert changed.found.fingerprints == (C,)
    assert exim.macro_file.read_text() == f"RELAY_FROM_CERTS = {C}\n"
    assert publisher.list(A, C, expected=changed.found.digest).outcome == "done"


def test_what_stood_before_is_restored_byte_for_byte_unless_somebody_changed_the_file(
    exim: EximServer, publisher: Publisher
) -> None:
    exim.macro_file.write_text(f"# ours\nRELAY_FROM_CERTS = {A.lower()}\n")
    before = exim.macro_file.read_bytes()
    first, second = publisher.list(A, B), publisher.list(A, B)
    assert (first.changed, second.changed) == (True, False)
    assert first.found is not None
    wrong = publisher.restore("0" * 64)
    assert (wrong.outcome, wrong.changed) == ("changed", False)
    restored = publisher.restore(first.found.digest)
    assert (restored.outcome, restored.changed) == ("done", True)
    assert exim.macro_file.read_bytes() == before
    assert restored.found is not None
    again = publisher.restore(restored.found.digest)
    assert (again.outcome, again.step) == ("refused", "restore")
    assert exim.macro_file.read_bytes() == before


def test_comments_are_kept_and_lower_case_is_corrected(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    exim.macro_file.write_text(f"# first \\\nRELAY_FROM_CERTS = \\\n# second\n{alice.fingerprint.lower()} : \\\n{A}\n")
    assert publisher.carry(alice.fingerprint, A).outcome == "live"
    assert ask(exim.port, alice).accepted
    found = publisher.read().found
    assert found is not None
    assert found.comments == ("# first \\", "# second")
    assert not found.corrected


@pytest.mark.parametrize("line", ["perl_startup = 1", "OTHER = x", f"RELAY_FROM_CERTS = {B} # laptop"])
def test_a_foreign_line_stops_the_publication_with_the_line_shown(
    exim: EximServer, publisher: Publisher, line: str
) -> None:
    exim.macro_file.write_text(f"RELAY_FROM_CERTS = {A}\n{line}\n")
    refused = publisher.list(A, B)
    assert (refused.outcome, refused.step, refused.found) == ("refused", "read", None)
    assert line[:12] in refused.message
    assert str(exim.macro_file) in refused.message
    assert line in exim.macro_file.read_text()


def test_the_first_publication_makes_the_file_that_exim_already_includes(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    exim.macro_file.unlink()
    absent = publisher.read()
    assert absent.found is not None
    assert (absent.found.form, absent.found.digest) == ("absent", "-")
    assert publisher.carry(alice.fingerprint).outcome == "live"
    assert ask(exim.port, alice).accepted


@pytest.mark.parametrize("before", [f"{A}\n", "\\", " \\\n"])
def test_a_file_that_breaks_the_configuration_by_its_end_is_corrected(
    exim: EximServer, publisher: Publisher, before: str
) -> None:
    exim.macro_file.write_text(f"RELAY_FROM_CERTS = {before}")
    assert publisher.carry(A).outcome == "live"


def test_a_configuration_that_somebody_broke_gets_no_hup_and_nothing_is_written(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    before = exim.macro_file.read_bytes()
    exim.break_configuration()
    failed = publisher.carry(alice.fingerprint)
    assert (failed.outcome, failed.step) == ("invalid", "validate")
    assert "no_such_option" in failed.exim
    assert exim.macro_file.read_bytes() == before
    assert exim.reloads() == 0
    assert ask(exim.port, alice).refused
    exim.configure()
    assert publisher.carry(alice.fingerprint).outcome == "live"
    assert ask(exim.port, alice).accepted


def test_a_list_too_long_to_validate_before_is_restored_where_exim_does_not_accept_it(
    exim: EximServer, publisher: Publisher
) -> None:
    many = [f"{index:064X}" for index in range(600)]
    assert publisher.carry(*many).outcome == "live"
    before = exim.macro_file.read_bytes()
    exim.break_configuration()
    failed = publisher.carry(*many, A)
    assert failed.outcome == "invalid"
    assert failed.message.endswith("The previous list was restored.")
    assert exim.macro_file.read_bytes() == before
    assert (exim.alive(), exim.reloads()) == (True, 1)
    exim.configure()
    assert publisher.carry(*many, A).outcome == "live"


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_macro_that_rewrites_fingerprints_is_found_and_named(alice: Identity, where: str) -> None:
    pairs = (alice.fingerprint[at : at + 2] for at in range(63))
    name = next(pair for pair in pairs if pair[0].isalpha() and pair != "CE")  # it is in RELAY_FROM_CERTS
    line = f"{name} = /etc/ssl/ca\n"
    before, main = (line, "") if where == "before" else ("", line)
    with EximServer(trusted=[alice], before=before, main=main) as exim:
        publisher = Publisher(exim)
        failed = publisher.carry(alice.fingerprint)
        assert (failed.outcome, failed.rewritten_by) == ("invalid", name)
        assert exim.reloads() == 0
        publisher.allow(alice.fingerprint)
        assert publisher.carry(form="directory").outcome == "live"
        assert ask(exim.port, alice).accepted


def test_where_no_daemon_runs_the_list_stands_and_counts_at_its_start(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    exim.stop()
    stands = publisher.carry(alice.fingerprint)
    assert (stands.outcome, stands.live) == ("not-running", True)
    exim.start()
    assert ask(exim.port, alice).accepted


def test_open_sessions_and_queued_connections_live_on(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    with session(exim.port, alice) as opened:
        assert publisher.carry(alice.fingerprint).outcome == "live"
        assert opened.rcpt().refused  # the old list, until it ends
    assert ask(exim.port, alice).accepted


def test_other_names_in_the_directory_neither_count_nor_harm(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.allow()
    (publisher.allowed / alice.fingerprint).mkdir()
    (publisher.allowed / A).symlink_to("/etc/passwd")
    os.mkfifo(publisher.allowed / B)
    (publisher.allowed / "README").touch()
    assert publisher.carry(form="directory").outcome == "live"
    assert ask(exim.port, alice).refused


def test_a_change_of_form_can_be_undone(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    publisher.allow(alice.fingerprint)
    assert publisher.carry(alice.fingerprint).outcome == "live"
    for _ in range(2):
        assert publisher.carry(form="directory").outcome == "live"
        assert ask(exim.port, alice).accepted
        assert publisher.carry(alice.fingerprint).outcome == "live"
        assert ask(exim.port, alice).accepted


def test_a_long_list_is_published_and_honoured(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    many = [f"{index:064X}" for index in range(5000)]
    assert publisher.carry(*many, alice.fingerprint).outcome == "live"
    assert ask(exim.port, alice).accepted


def test_requests_are_served_one_after_the_other(publisher: Publisher) -> None:
    publisher.list()
    with publisher.beside("lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(publisher.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
            assert waiting.stdin is not None
            waiting.stdin.write(encode(FIRST_LINE, Request("write list", None, (A,))))  # type: ignore[arg-type]
            waiting.stdin.close()
            waiting.stdin = None
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(0.5)  # it waits for the lock
            assert A not in publisher.file.read_text()
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert b'"outcome":"done"' in waiting.communicate()[0]
    assert A in publisher.file.read_text()


def test_a_lock_that_is_never_free_is_reported(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher.list()
    monkeypatch.setattr(transaction, "LOCK_SECONDS", 0.05)
    with publisher.beside("lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = transaction.answer(load(publisher.config), Request("read"), allow_shrink=False)
    assert (answer.outcome, answer.step) == ("failed", "lock")
    assert "another request has held" in answer.message
