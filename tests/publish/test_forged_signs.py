"""What other local users can do to make a publication believe, or disbelieve, what Exim does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM, EximServer
from lab.publishing import Publisher
from lab.smtp import ask, session
from lab.wait import until

from eximcertd.publish import listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from lab.certificates import Identity

SQUATTER = """
import socket, sys, time
where, keep = eval(sys.argv[1]), sys.argv[2] == "keep"
said = False
while True:
    abstract = isinstance(where, str)
    held = socket.socket(*((socket.AF_UNIX, socket.SOCK_DGRAM) if abstract else (socket.AF_INET,)))
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(where)
        if not abstract:
            held.listen()
    except OSError:
        pass
    else:
        if not said:
            print("bound", flush=True)
            said = True
        time.sleep(1000 if keep else 0.001)
    held.close()
"""


@contextmanager
def squatter(where: object, *, keep: bool) -> Iterator[None]:
    """Let a user without any rights hold an address, or open and close it all the time."""
    nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    command = [*nobody, "/usr/bin/python3", "-c", SQUATTER, repr(where), "keep" if keep else "flip"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"bound\n"
            yield
        finally:
            process.kill()


@pytest.fixture
def publisher(exim: EximServer) -> Publisher:
    return Publisher(exim)


def notifier(exim: EximServer) -> str:
    return f"\0{exim.spool}/exim_daemon_notify"


@pytest.mark.parametrize("kind", ["the notifier's name", "Exim's port at another address"])
def test_nobody_can_pretend_that_exim_has_loaded_the_list(
    exim: EximServer, publisher: Publisher, alice: Identity, kind: str
) -> None:
    exim.stop()
    with squatter(notifier(exim), keep=True):
        exim.start()  # without a notifier: it goes on without
    where = notifier(exim) if "notifier" in kind else ("127.0.0.2", exim.port)
    with squatter(where, keep=False):
        assert publisher.list(alice.fingerprint).outcome == "live"
        os.kill(exim.pid, signal.SIGSTOP)  # a busy machine: Exim loads nothing for a while
        try:
            answer = publisher.list()
        finally:
            os.kill(exim.pid, signal.SIGCONT)
        assert (answer.outcome, answer.step) == ("failed", "reload")
        assert answer.found is not None
        assert (answer.found.fingerprints, answer.found.due) == ((), True)
        assert publisher.list().outcome == "live"
    assert ask(exim.port, alice).refused


def test_an_exim_whose_sockets_cannot_be_told_is_never_called_live(exim: EximServer, publisher: Publisher) -> None:
    program = publisher.directory / "exim4"
    program.write_text(f'#!/bin/sh\n{EXIM} "$@" | sed "s/^daemon_smtp_ports = .*/daemon_smtp_ports = 1/"\n')
    program.chmod(0o755)
    publisher.configure({"exim": {"binary": str(program)}})
    answer = publisher.list("AA" * 32)
    assert (answer.outcome, answer.step) == ("failed", "reload"), answer
    assert "listens on none of its TCP ports" in answer.message
    assert answer.found is not None
    assert answer.found.due


@pytest.mark.parametrize(
    ("option", "interfaces", "usual", "found"),
    [
        ("", "", "smtp", {25}),
        ("", "<; 127.0.0.1 ; ::1", "smtp : 587", {25, 587}),
        ("", "127.0.0.1.2525", "smtp", {2525}),
        ("", "<; [::1]:2525 ; ::1.2526 ; 10.0.0.1:2527 ; 10.0.0.2", "465", {2525, 2526, 2527, 465}),
        ("2525", "127.0.0.1.26", "smtp", {2525}),
        ("127.0.0.1", "127.0.0.1.26", "smtp", {25}),
        ("<; [::1].2525 ; 127.0.0.1", "", "smtp", {25, 2525}),
        ("9" * 5000, "", "smtp", {25}),
        (":".join(map(str, range(1, 1000))), "", "smtp", set(range(1, 65))),
        ("no-such-service", "", "smtp", {25}),
        ("<", "<", "<", set()),
    ],
)
def test_the_ports_are_those_that_exim_takes(option: str, interfaces: str, usual: str, found: set[int]) -> None:
    assert listening.ports(option, interfaces, usual) == found


def test_a_name_that_anybody_holds_says_nothing_of_an_exim_that_is_down(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.list(alice.fingerprint)
    exim.stop()
    with squatter(notifier(exim), keep=True):
        answer = publisher.list()
    assert answer.outcome == "not-running"
    assert alice.fingerprint not in exim.macro_file.read_text()


def started(exim: EximServer, *arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Start Exim in another way than the lab does."""
    process = subprocess.Popen([EXIM, "-C", exim.configuration, *arguments], stdin=subprocess.DEVNULL)
    until(exim.listening, "Exim listens", limit=20)
    return ending(process)


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_an_exim_without_a_pid_file_is_no_exim_that_does_not_run(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.list(alice.fingerprint)
    exim.stop()
    exim.pid_file.unlink(missing_ok=True)
    port = f"127.0.0.1.{exim.port}"
    with started(exim, "-bdf", "-oX", port) as process:
        assert not exim.pid_file.exists()
        answer = publisher.list()
        assert (answer.outcome, answer.step) == ("failed", "daemon")
        assert f"process {process.pid}" in answer.message
        assert f"-oP {exim.pid_file}" in answer.message
    with started(exim, "-bdf", "-oX", port, "-oP", str(exim.pid_file)):
        assert publisher.list().outcome == "live"
        assert ask(exim.port, alice).refused


def test_a_session_that_outlives_its_daemon_is_no_daemon(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    with session(exim.port, alice):
        exim.kill()
        assert publisher.list().outcome == "not-running"


def test_an_exim_of_another_configuration_is_another_exim(exim: EximServer, publisher: Publisher) -> None:
    exim.stop()
    with EximServer():
        assert publisher.list("AA" * 32).outcome == "not-running"
