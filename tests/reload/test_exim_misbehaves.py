"""Exim missing, hanging, printing nonsense, dying, restarted: each is said, and nothing waits for ever."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM, USER, EximServer
from lab.reloading import Reloader
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from lab.certificates import Identity

A = "AA" * 32
EXIM_USER = pwd.getpwnam(USER)
AS_USER = ("setpriv", f"--reuid={EXIM_USER.pw_uid}", f"--regid={EXIM_USER.pw_gid}", "--clear-groups")
IN_THE_UNIT = (*AS_USER, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")


@pytest.fixture
def reloader(exim: EximServer) -> Reloader:
    return Reloader(exim)


def pretend(reloader: Reloader, script: str) -> None:
    """Put a program in Exim's place."""
    program = reloader.directory / "exim4"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    reloader.configure({"exim": {"binary": str(program)}})


def after_validation(reloader: Reloader, then: str) -> None:
    """Let the real Exim answer, and do something after it has accepted its configuration."""
    pretend(reloader, f'{EXIM} "$@"; status=$?; {then}; exit $status')


@pytest.mark.parametrize(
    ("script", "outcome", "sentence"),
    [
        ("exit 0", "failed", "does not print its settings"),
        ("echo hello; exit 0", "failed", "does not print its settings"),
        ("exit 3", "invalid", "rejects its configuration (status 3)"),
        ("kill -SEGV $$", "invalid", "rejects its configuration (status -11)"),
        ("printf '/x\\nexim_user = no-such-user\\nRELAY_FROM_CERTS=AA'", "failed", "does not exist on this machine"),
    ],
)
def test_an_exim_that_prints_nonsense_is_told_and_nothing_is_signalled(
    exim: EximServer, reloader: Reloader, script: str, outcome: str, sentence: str
) -> None:
    pretend(reloader, script)
    for told in (reloader.publish(A), reloader.validate(A)):
        assert (told.outcome, told.step) == (outcome, "validate")
        assert sentence in told.message
    assert exim.reloads() == 0


def test_a_missing_exim_is_named(reloader: Reloader) -> None:
    reloader.configure({"exim": {"binary": "/usr/sbin/no-such-exim"}})
    told = reloader.publish(A)
    assert (told.outcome, told.step) == ("failed", "validate")
    assert "/usr/sbin/no-such-exim cannot be run: No such file" in told.message
    assert "[exim] binary" in told.message


@pytest.mark.parametrize("wrapper", [(), AS_USER, IN_THE_UNIT], ids=["root", "Exim's user", "as in the unit"])
def test_any_user_that_may_run_it_validates_and_loads(
    exim: EximServer, alice: Identity, wrapper: tuple[str, ...]
) -> None:
    reloader = Reloader(exim, wrapper=wrapper)
    assert reloader.validate(alice.fingerprint).outcome == "valid"
    assert reloader.publish(alice.fingerprint).daemons == {exim.pid: True}
    assert ask(exim.port, alice).accepted
    reloader.allow(alice.fingerprint)
    assert reloader.publish_directory().outcome == "loaded"


def test_nothing_is_signalled_as_root(exim: EximServer, reloader: Reloader) -> None:
    """Root becomes Exim's user before it looks at any process: a root process that pretends is not hurt."""
    code = "import signal, time; signal.signal(17, print); signal.signal(1, print); time.sleep(60)"
    command = ["/usr/bin/python3", "-c", code, "-C", str(exim.configuration), "-bd"]
    with subprocess.Popen(command) as other:
        try:
            until(lambda: "000000000001" in _caught(other.pid), "it handles its signals")
            assert reloader.publish(A).daemons == {exim.pid: True}
            assert other.poll() is None
        finally:
            other.kill()


def _caught(pid: int) -> str:
    with open(f"/proc/{pid}/status", encoding="ascii") as stream:  # noqa: PTH123 - a file of the kernel
        return next(line for line in stream if line.startswith("SigCgt"))


def test_a_configuration_that_exims_user_cannot_read_is_told_with_what_to_do(exim: EximServer) -> None:
    reloader = Reloader(exim, wrapper=IN_THE_UNIT)
    for file in (exim.configuration, exim.macro_file):
        file.chmod(0o600)
        told = reloader.load()
        assert (told.outcome, told.step) == ("invalid", "validate")
        assert f"Exim's user cannot read {file}" in told.message
        assert f"chgrp Debian-exim {file}; chmod 640 {file}" in told.message
        os.chown(file, 0, EXIM_USER.pw_gid)
        file.chmod(0o640)
    assert reloader.load().outcome == "loaded"


def test_a_configuration_file_of_ours_that_exims_user_cannot_read_is_told_with_what_to_do(exim: EximServer) -> None:
    reloader = Reloader(exim, wrapper=IN_THE_UNIT)
    reloader.config.chmod(0o600)
    told = reloader.load()
    assert (told.outcome, told.step) == ("refused", "request")
    assert told.message == f"{reloader.config}: Exim's user has to be able to read it: chmod 644 {reloader.config}"


def test_a_daemon_that_dies_of_the_reload_is_said_first(exim: EximServer, reloader: Reloader, alice: Identity) -> None:
    after_validation(reloader, f"sed -i 1ino_such_option=1 {exim.configuration}")
    told = reloader.publish(alice.fingerprint)
    assert (told.outcome, told.step, told.daemons) == ("died", "reload", {exim.pid: False})
    assert told.message.startswith("EXIM IS DOWN")
    assert str(exim.pid) in told.message
    assert not exim.alive()
    exim.configure()
    reloader.configure({"exim": {"binary": str(EXIM)}})
    exim.start()
    assert reloader.load(alice.fingerprint).outcome == "loaded"
    assert ask(exim.port, alice).accepted


def test_a_daemon_that_died_is_said_at_the_highest_level(exim: EximServer, reloader: Reloader) -> None:
    after_validation(reloader, f"sed -i 1ino_such_option=1 {exim.configuration}")
    exim.allow([])
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    done = reloader.raw(f"eximcertd-reload 1\nload {digest}\ncount 0\nend\n".encode())
    assert done.returncode == 0
    assert json.loads(done.stdout)["outcome"] == "died"
    assert done.stderr.startswith(b"<2>EXIM IS DOWN")


def test_an_exim_that_ended_before_it_was_signalled_is_not_running(exim: EximServer, reloader: Reloader) -> None:
    after_validation(reloader, f"kill -{signal.SIGKILL.value} {exim.pid}; while [ -e /proc/{exim.pid} ]; do :; done")
    assert reloader.publish(A).outcome == "not-running"


def test_an_exim_that_somebody_restarts_meanwhile_is_loaded(
    exim: EximServer, reloader: Reloader, alice: Identity
) -> None:
    start = f"{EXIM} -C {exim.configuration} -bd >/dev/null 2>&1"
    after_validation(reloader, f"kill {exim.pid}; while kill -0 {exim.pid} 2>/dev/null; do :; done; {start}")
    told = reloader.publish(alice.fingerprint)
    pid = int(exim.pid_file.read_text())
    try:
        assert (told.outcome, told.daemons) == ("loaded", {pid: True})
        assert pid != exim.pid
        assert ask(exim.port, alice).accepted
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not exim.listening(), "the other Exim has ended")


def test_a_daemon_that_gets_another_process_id_when_it_is_signalled_is_loaded(
    exim: EximServer, reloader: Reloader, alice: Identity
) -> None:
    """With -bd, a daemon whose parent is not process 1 leaves its place to a child on SIGHUP (a child subreaper)."""
    exim.stop()
    code = (
        "import ctypes, os, subprocess, sys, time; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0);"
        "subprocess.run(sys.argv[1:], check=True); print('started', flush=True);"
        "import signal; signal.signal(17, signal.SIG_IGN); sys.stdin.read()"
    )
    command = ["/usr/bin/python3", "-c", code, str(EXIM), "-C", str(exim.configuration), "-bd"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        until(exim.listening, "Exim listens")
        first = int(exim.pid_file.read_text())
        told = reloader.publish(alice.fingerprint)
        (pid,) = told.daemons
        try:
            assert told.outcome == "loaded", told
            assert pid != first
            assert ask(exim.port, alice).accepted
        finally:
            os.kill(pid, signal.SIGTERM)
            until(lambda: not exim.listening(), "it has ended")
            parent.kill()
