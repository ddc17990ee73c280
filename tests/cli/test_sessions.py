"""Exim's open sessions: which are older than the list, and whose they are."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from lab.callers import as_nobody, needs_root
from lab.daemon import Eximcertd
from lab.exim import EXIM, EximServer
from lab.smtp import Session, session
from lab.wait import until

from eximcertd.cli.sessions import _address, older
from eximcertd.exim.daemons import EximFacts, daemons, facts
from eximcertd.exim.settings import Exim

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity


def facts_of(exim: EximServer) -> EximFacts:
    """Return what a lab's Exim says of itself."""
    return facts(Exim(EXIM, exim.configuration))


def test_sessions_older_than_a_moment_are_found_with_their_clients(exim: EximServer, alice: Identity) -> None:
    with session(exim.port, alice):
        until(exim.sessions, "the session has its process")
        [found] = older(facts_of(exim), time.time())
        assert [found.pid] == exim.sessions()
        assert found.peer == "127.0.0.1"
        assert older(facts_of(exim), time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + found.started - 1) == []
    until(lambda: not older(facts_of(exim), time.time()), "the session is over")


def test_a_queue_runner_is_no_session(alice: Identity) -> None:
    with EximServer(trusted=[alice], queue=("-q1s",)) as exim:
        until(lambda: any("Start queue run" in line for line in exim.lines()), "the queue is run")
        assert older(facts_of(exim), time.time()) == []


@needs_root
def test_who_may_not_see_the_sessions_descriptors_counts_the_processes(exim: EximServer, alice: Identity) -> None:
    with session(exim.port, alice):
        until(exim.sessions, "the session has its process")
        script = (
            "import pathlib, sys, time; from eximcertd.cli.sessions import older;"
            "from eximcertd.exim.daemons import facts; from eximcertd.exim.settings import Exim;"
            "print(older(facts(Exim(*map(pathlib.Path, sys.argv[1:]))), time.time()))"
        )
        assert f"pid={exim.sessions()[0]}" in as_nobody(script, str(EXIM), str(exim.configuration))


def test_the_sessions_of_a_daemon_that_is_gone_are_found_and_ended(server: EximServer, alice: Identity) -> None:
    with Eximcertd(server) as daemon:
        holding = Session(server.port, alice)
        assert holding.rcpt().accepted
        server.kill()
        done = daemon.ctl("revoke", alice.fingerprint, "--end-sessions")
        assert "Exim is not running." in done.stdout, done.stdout + done.stderr
        assert "1 open session with the old list ended" in done.stdout
        assert holding.rcpt().unreachable


def test_the_sessions_of_every_daemon_are_found(exim: EximServer, alice: Identity) -> None:
    other = exim.port + 1
    command: list[str | Path] = [
        EXIM,
        "-C",
        exim.configuration,
        "-bdf",
        "-oX",
        f"127.0.0.1.{other}",
        "-oP",
        exim.pid_file.with_name("2"),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as second:
        try:
            until(lambda: len(daemons(facts_of(exim))) == 2, "the second daemon runs")
            with session(exim.port, alice), session(other, alice):
                until(lambda: len(older(facts_of(exim), time.time())) == 2, "both sessions are found")
        finally:
            second.terminate()


@pytest.mark.parametrize(
    ("spelled", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
        ("B80D0120000000000000000001000000", "2001:db8::1"),
    ],
)
def test_a_peers_address_is_spelled_as_people_do(spelled: str, address: str) -> None:
    if sys.byteorder == "little":
        assert _address(spelled) == address
