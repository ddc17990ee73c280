"""Which processes are daemons of our configuration, whatever they are called."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM, USER, EximServer
from lab.smtp import session
from lab.wait import until

from eximcertd.exim.daemons import EximDaemon, daemons, facts
from eximcertd.exim.processes import arguments, process
from eximcertd.exim.settings import Exim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

NAMES = ("sendmail", "mta", "exim-4.96-1")


def found(exim: EximServer) -> list[EximDaemon]:
    return daemons(facts(Exim(EXIM, exim.configuration)))


def ids(exim: EximServer) -> list[int]:
    return [daemon.pid for daemon in found(exim)]


@contextmanager
def second(exim: EximServer, *arguments: str, name: str = "") -> Iterator[int]:
    """Run one more daemon of the same configuration on a port of its own, by a link if a name is given."""
    program = exim.directory / name if name else EXIM
    if name:
        program.symlink_to(EXIM)
    pid_file, port = exim.directory / "run" / "second.pid", exim.port + 1
    command = [
        str(program),
        "-C",
        str(exim.configuration),
        "-bdf",
        "-oX",
        f"127.0.0.1.{port}",
        "-oP",
        str(pid_file),
        *arguments,
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            until(pid_file.exists, "it has written its pid file")
            yield process.pid
        finally:
            process.kill()


def test_a_daemon_is_found_with_all_that_is_known_of_it(exim: EximServer) -> None:
    (daemon,) = found(exim)
    assert daemon.pid == exim.pid
    assert daemon.argv == (str(EXIM), "-C", str(exim.configuration), "-bdf")
    assert daemon.user == pwd.getpwnam(USER).pw_uid
    assert abs(daemon.started_at() - time.time()) < 60
    assert [str(one) for one in daemon.listening(facts(Exim(EXIM, exim.configuration)))] == [f"127.0.0.1:{exim.port}"]
    assert not daemon.macros


@pytest.mark.parametrize("name", NAMES)
def test_a_daemon_is_found_under_any_name(exim: EximServer, name: str) -> None:
    with second(exim, name=name) as pid:
        assert Path(f"/proc/{pid}/comm").read_text().strip() == name
        assert ids(exim) == sorted([exim.pid, pid])


def test_a_macro_of_its_command_line_is_told(exim: EximServer) -> None:
    with second(exim, "-DRELAY_FROM_CERTS=AA") as pid:
        assert {daemon.pid: daemon.macros for daemon in found(exim)} == {exim.pid: (), pid: ("RELAY_FROM_CERTS",)}


def test_a_daemon_of_another_configuration_is_none_of_ours(exim: EximServer) -> None:
    with EximServer() as other:
        assert ids(exim) == [exim.pid]
        assert ids(other) == [other.pid]


def test_a_list_of_configurations_means_the_first_that_exists(exim: EximServer) -> None:
    missing = exim.etc / "missing"
    listed = f"{missing}:{exim.configuration}"
    where = ("-oX", f"127.0.0.1.{exim.port + 1}", "-oP", str(exim.directory / "run" / "second.pid"))
    command = [str(EXIM), "-C", listed, "-bdf", *where]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            until(lambda: ids(exim) == sorted([exim.pid, process.pid]), "both are found")
        finally:
            process.kill()


def test_neither_a_session_nor_what_outlives_its_daemon_is_a_daemon(exim: EximServer, alice: Identity) -> None:
    with session(exim.port, alice):
        assert ids(exim) == [exim.pid]
        left = exim.sessions()
        assert left
        exim.kill()
        assert Path(f"/proc/{left[0]}/cmdline").read_text().split("\0")[-2] == "-bdf"
        assert ids(exim) == []


def test_a_process_of_another_user_with_the_same_command_line_is_none(exim: EximServer) -> None:
    code = "import signal, time; signal.signal(17, print); signal.signal(1, print); time.sleep(60)"
    user = ["setpriv", "--reuid=nobody", "--clear-groups"]
    command = [*user, "/usr/bin/python3", "-c", code, "-C", str(exim.configuration), "-bd"]
    with subprocess.Popen(command) as other:

        def is_ready() -> bool:
            seen = process(other.pid)
            return seen is not None and seen.catches(signal.SIGHUP)

        try:
            until(is_ready, "it handles its signals")
            assert ids(exim) == [exim.pid]
        finally:
            other.kill()


def test_what_a_local_user_has_wait_with_the_same_command_line_is_none(exim: EximServer) -> None:
    code = f'trap "" HUP; exec su -- root -bd -C {exim.configuration}'  # it waits for a password
    others: list[int] = []
    command = ["setpriv", "--reuid=nobody", "--clear-groups", "sh", "-c", code]
    with ExitStack() as stack:
        for _ in range(3):
            other = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL))
            stack.callback(other.kill)
            others.append(other.pid)
        until(lambda: all(arguments(pid)[:1] == ["su"] for pid in others), "they wait")
        assert ids(exim) == [exim.pid]


def test_what_never_settles_hides_no_daemon(exim: EximServer) -> None:
    """Nor is it a daemon that waits for its port, though it ignores SIGHUP as that one does (a child of nohup)."""
    code = "import signal, time; signal.signal(1, signal.SIG_IGN); time.sleep(60)"
    wrapper = [sys.executable, "-c", code, "-C", str(exim.configuration), "-bd"]
    with ExitStack() as stack:
        for _ in range(4):
            stack.callback(stack.enter_context(subprocess.Popen(wrapper)).kill)
        assert ids(exim) == [exim.pid]


def test_a_daemon_is_seen_at_every_moment_of_its_reloads(exim: EximServer) -> None:
    asked = facts(Exim(EXIM, exim.configuration))
    for _ in range(10):
        before = exim.reloads()
        os.kill(exim.pid, signal.SIGHUP)
        while exim.reloads() == before or not exim.listening():
            assert [daemon.pid for daemon in daemons(asked)] == [exim.pid]
