"""Exim missing, hanging, printing nonsense, dying: each is said, nothing waits for ever, nothing is left broken."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM, EximServer
from lab.publishing import Publisher
from lab.smtp import ask
from lab.wait import until

from eximcertd.publish.run import run
from eximcertd.publish.stop import Stop

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

A = "AA" * 32


@pytest.fixture
def publisher(exim: EximServer) -> Publisher:
    return Publisher(exim)


def pretend(publisher: Publisher, script: str) -> None:
    """Put a program in Exim's place."""
    program = publisher.directory / "exim4"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    publisher.configure({"exim": {"binary": str(program)}})


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 0", "prints nonsense"),
        ("echo hello; exit 0", "prints nonsense"),
        ("exit 3", "does not accept its configuration (status 3)"),
        ("kill -SEGV $$", "does not accept its configuration (status -11)"),
        (f'[ "$3" = -bV ] && exec {EXIM} "$@"; exit 5', "does not print its settings (status 5)"),
        (
            "printf 'exim_user = no-such-user\\npid_file_path = /x\\nspool_directory = /x\\nRELAY_FROM_CERTS=AA'",
            "value",
        ),
    ],
)
def test_an_exim_that_talks_nonsense_changes_nothing(
    exim: EximServer, publisher: Publisher, script: str, sentence: str
) -> None:
    before = exim.macro_file.read_bytes()
    pretend(publisher, script)
    failed = publisher.list(A)
    assert (failed.outcome, failed.step) == ("failed", "judge")
    assert sentence in failed.message
    assert exim.macro_file.read_bytes() == before
    assert exim.reloads() == 0


def test_a_missing_exim_is_named(publisher: Publisher) -> None:
    publisher.configure({"exim": {"binary": "/usr/sbin/no-such-exim"}})
    failed = publisher.list(A)
    assert (failed.outcome, failed.step) == ("failed", "judge")
    assert "/usr/sbin/no-such-exim cannot be run: No such file" in failed.message


@pytest.mark.parametrize("script", ["sleep 60", "sleep 60 & echo started", "exec cat /dev/zero"])
def test_a_program_that_hangs_or_never_stops_talking_is_killed(tmp_path: Path, script: str) -> None:
    program = tmp_path / "exim4"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    began = time.monotonic()
    with pytest.raises(Stop, match="was killed"):
        run([str(program)], 0.3)
    assert time.monotonic() - began < 20


def test_a_daemon_that_dies_of_the_reload_is_said_first_and_the_old_file_is_back(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.list(A)
    before = exim.macro_file.read_bytes()
    break_between_check_and_reload(exim, publisher)
    died = publisher.list(A, alice.fingerprint)
    assert died.outcome == "died"
    assert died.message.startswith("EXIM IS DOWN")
    assert not died.restarted
    assert exim.macro_file.read_bytes() == before
    assert died.found is not None
    assert died.found.due
    assert not exim.alive()
    exim.configure()
    publisher.configure({"exim": {"binary": str(EXIM)}})
    exim.start()
    assert publisher.list(A, alice.fingerprint).outcome == "live"
    assert ask(exim.port, alice).accepted


def test_a_daemon_that_died_is_started_again_where_root_wants_it(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.configure({"publish": {"on_dead": "restart"}})
    kill_at_reload(exim, publisher)
    died = publisher.list(alice.fingerprint)
    assert (died.outcome, died.restarted) == ("died", True), died
    assert died.message.startswith("EXIM WAS DOWN")
    publisher.configure({"exim": {"binary": str(EXIM)}})
    try:
        assert publisher.list(alice.fingerprint).outcome == "live"
        assert ask(exim.port, alice).accepted
    finally:
        os.kill(int(exim.pid_file.read_text()), signal.SIGTERM)
        until(lambda: not exim.listening(), "the restarted Exim has ended")


def test_a_restart_that_cannot_work_is_said(exim: EximServer, publisher: Publisher) -> None:
    publisher.configure({"publish": {"on_dead": "restart"}})
    break_between_check_and_reload(exim, publisher)
    died = publisher.list(A)
    assert (died.outcome, died.step, died.restarted) == ("died", "restart", False)
    assert died.message.startswith("EXIM IS DOWN")
    assert "no_such_option" in died.message


def nth_call(publisher: Publisher, number: int, then: str) -> None:
    """Let the real Exim answer, and do something after the answer to the ``number``th question."""
    count = publisher.directory / "count"
    count.write_text("")
    pretend(
        publisher,
        f'{EXIM} "$@"; status=$?; echo x >> {count}; [ $(wc -l < {count}) = {number} ] && {{ {then}; }}; exit $status',
    )


def break_between_check_and_reload(exim: EximServer, publisher: Publisher) -> None:
    """Somebody breaks Exim's configuration in the instant between the last check and the HUP."""
    nth_call(publisher, 4, f"sed -i 1ino_such_option=1 {exim.configuration}")


def kill_at_reload(exim: EximServer, publisher: Publisher) -> None:
    """Exim is killed in that instant."""
    nth_call(publisher, 4, f"kill -{signal.SIGKILL.value} {exim.pid}")


def test_a_configuration_that_breaks_between_rename_and_check_puts_the_old_file_back(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.list(A)
    before = exim.macro_file.read_bytes()
    nth_call(publisher, 2, f"sed -i 1ino_such_option=1 {exim.configuration}")
    failed = publisher.list(A, alice.fingerprint)
    assert (failed.outcome, failed.step) == ("failed", "check")
    assert exim.macro_file.read_bytes() == before
    assert exim.alive()
    assert exim.reloads() == 1


def test_a_hand_edit_in_the_middle_of_a_publication_is_not_lost(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    here, go = publisher.directory / "here", publisher.directory / "go"
    nth_call(publisher, 2, f"touch {here}; while [ ! -e {go} ]; do sleep 0.01; done")

    def edit() -> None:
        until(here.exists, "the candidate is judged")
        exim.macro_file.write_text(f"RELAY_FROM_CERTS = {A}\n")
        go.touch()

    hand = threading.Thread(target=edit)
    hand.start()
    changed = publisher.list(alice.fingerprint)
    hand.join()
    assert (changed.outcome, changed.step) == ("changed", "rename")
    assert changed.found is not None
    assert (changed.found.fingerprints, changed.found.due) == ((A,), True)
    assert exim.macro_file.read_text() == f"RELAY_FROM_CERTS = {A}\n"


def test_an_exim_that_somebody_restarts_meanwhile_is_found_again(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    start = f"{EXIM} -C {exim.configuration} -bd >/dev/null 2>&1"
    nth_call(publisher, 4, f"kill {exim.pid}; while kill -0 {exim.pid} 2>/dev/null; do :; done; {start}")
    live = publisher.list(alice.fingerprint)
    try:
        assert live.outcome == "live", live
        assert live.exim_pid not in {None, exim.pid}
        assert ask(exim.port, alice).accepted
    finally:
        os.kill(int(exim.pid_file.read_text()), signal.SIGTERM)
        until(lambda: not exim.listening(), "the other Exim has ended")
