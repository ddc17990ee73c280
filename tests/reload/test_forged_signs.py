"""What other local users can do to make a reload seem done or undone, and who else may listen on Exim's ports."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM, USER, EximServer
from lab.reloading import Reloader
from lab.smtp import ask, session
from lab.wait import until

from eximcertd.exim.processes import all_ids, arguments, process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

A = "AA" * 32

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
def squatter(where: object, *, keep: bool, user: str = "nobody") -> Iterator[int]:
    """Let another user hold an address, or open and close it all the time; give the process id."""
    runner = ("setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups")
    command = [*runner, "/usr/bin/python3", "-c", SQUATTER, repr(where), "keep" if keep else "flip"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"bound\n"
            yield process.pid
        finally:
            process.kill()


@pytest.fixture
def reloader(exim: EximServer) -> Reloader:
    return Reloader(exim)


def notifier(exim: EximServer) -> str:
    return f"\0{exim.spool}/exim_daemon_notify"


@pytest.mark.parametrize("kind", ["the notifier's name", "Exim's port at another address"])
def test_nobody_can_pretend_that_exim_has_loaded_the_list(
    exim: EximServer, reloader: Reloader, alice: Identity, kind: str
) -> None:
    exim.stop()
    with squatter(notifier(exim), keep=True):
        exim.start()  # without a notifier: it goes on without
    where = notifier(exim) if "notifier" in kind else ("127.0.0.2", exim.port)
    with squatter(where, keep=False):
        assert reloader.publish(alice.fingerprint).outcome == "loaded"
        os.kill(exim.pid, signal.SIGSTOP)  # a busy machine: Exim loads nothing for a while
        try:
            told = reloader.publish()
        finally:
            os.kill(exim.pid, signal.SIGCONT)
        assert (told.outcome, told.step, told.daemons) == ("not-loaded", "reload", {exim.pid: False})
        assert f"process {exim.pid}" in told.message
        assert reloader.load().outcome == "loaded"
    assert ask(exim.port, alice).refused


def test_a_name_that_anybody_may_hold_does_not_make_exim_run(exim: EximServer, reloader: Reloader) -> None:
    exim.stop()
    with squatter(notifier(exim), keep=True):
        assert reloader.publish(A).outcome == "not-running"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - that is what is tested
@pytest.mark.parametrize("user", ["nobody", USER])
def test_a_program_that_listens_in_exims_place_is_named_and_exim_is_not_reported_down(
    exim: EximServer, reloader: Reloader, address: str, user: str
) -> None:
    exim.stop()
    with squatter((address, exim.port), keep=True, user=user):
        told = reloader.publish(A)
    assert (told.outcome, told.step, told.daemons) == ("not-loaded", "daemons", {})
    assert f"a listener on {address}:{exim.port} of user {user}" in told.message


def test_the_process_that_listens_is_told_where_it_can_be_seen(exim: EximServer, reloader: Reloader) -> None:
    exim.stop()
    with squatter(("127.0.0.1", exim.port), keep=True, user=USER) as pid:
        told = reloader.publish(A)
    assert f"process {pid} (/usr/bin/python3 -c " in told.message
    assert "\n" not in told.message


def test_a_daemon_that_waits_for_a_port_that_another_holds_is_told(alice: Identity) -> None:
    with EximServer(main="daemon_startup_retries = 100\n") as exim:
        text = exim.configuration.read_text()
        exim.configuration.write_text(text.replace("local_interfaces = ", "local_interfaces = 127.0.0.2 : "))
        with squatter(("127.0.0.2", exim.port), keep=True):
            told = Reloader(exim).publish(A)
    assert (told.outcome, told.daemons) == ("not-loaded", {exim.pid: False})
    assert f"process {exim.pid}" in told.message
    assert "may wait for its port" in told.message


def test_a_daemon_that_opens_its_port_late_with_the_old_list_is_signalled_before_it_counts(alice: Identity) -> None:
    with EximServer(trusted=[alice], main="daemon_startup_retries = 100\n") as exim:
        text = exim.configuration.read_text()
        exim.configuration.write_text(text.replace("local_interfaces = ", "local_interfaces = 127.0.0.2 : "))
        reloader = Reloader(exim)
        with squatter(("127.0.0.2", exim.port), keep=True):
            os.kill(exim.pid, signal.SIGHUP)  # it reads the old list, and waits for its port
            until(lambda: "waiting" in exim.words(), "it waits for its port")
            exim.allow([alice.fingerprint])
            with ThreadPoolExecutor() as threads:
                asked = threads.submit(reloader.load, alice.fingerprint)
                until(lambda: age(reloader) > 9, "the reload no longer waits for the daemon to handle SIGHUP", limit=20)
                os.kill(holder(exim), signal.SIGKILL)
                told = asked.result()
        # on a very slow machine the reload may have ended before the port was free
        assert told.outcome == "not-loaded" or (told.outcome == "loaded" and ask(exim.port, alice).accepted), told


def age(reloader: Reloader) -> float:
    """Return for how many seconds a reload has been running."""
    for pid in all_ids():
        if str(reloader.config) in arguments(pid) and (seen := process(pid)):
            return time.clock_gettime(time.CLOCK_BOOTTIME) - seen.started
    return 0


def holder(exim: EximServer) -> int:
    """Return the process that listens on Exim's port at 127.0.0.2."""
    return next(pid for pid in all_ids() if f"('127.0.0.2', {exim.port})" in arguments(pid))


def test_a_socket_that_stays_is_told_beside_a_daemon_that_loaded(exim: EximServer, reloader: Reloader) -> None:
    with socket.socket(socket.AF_INET6) as held:
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        held.bind(("::", exim.port))
        held.listen()
        told = reloader.publish(A)
        assert (told.outcome, told.daemons) == ("not-loaded", {exim.pid: True})
        assert f"a listener on [::]:{exim.port} of user root" in told.message
    assert reloader.load(A).outcome == "loaded"


def test_an_exim_whose_sockets_cannot_be_told_is_never_called_loaded(exim: EximServer, reloader: Reloader) -> None:
    program = reloader.directory / "exim4"
    program.write_text(f'#!/bin/sh\n{EXIM} "$@" | sed "s/^daemon_smtp_ports = .*/daemon_smtp_ports = 1/"\n')
    program.chmod(0o755)
    reloader.configure({"exim": {"binary": str(program)}})
    told = reloader.publish(A)
    assert (told.outcome, told.step) == ("not-loaded", "reload")
    assert "listens on none of its ports" in told.message


def test_an_exim_without_a_pid_file_is_found(exim: EximServer, reloader: Reloader, alice: Identity) -> None:
    exim.stop()
    exim.pid_file.unlink(missing_ok=True)
    command = [str(EXIM), "-C", str(exim.configuration), "-bdf", "-oX", f"127.0.0.1.{exim.port}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            until(exim.listening, "Exim listens")
            assert reloader.publish(alice.fingerprint).daemons == {process.pid: True}
            assert not exim.pid_file.exists()
            assert ask(exim.port, alice).accepted
        finally:
            process.kill()


def test_a_session_that_outlives_its_daemon_is_no_daemon(exim: EximServer, reloader: Reloader, alice: Identity) -> None:
    with session(exim.port, alice):
        exim.kill()
        assert reloader.publish().outcome == "not-running"
