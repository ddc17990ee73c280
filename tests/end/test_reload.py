"""A reload takes over what can change while eximcertd runs, and says what waits for a restart."""

from __future__ import annotations

import grp
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab.callers import needs_root
from lab.daemon import Eximcertd, program
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.exim import EximServer

PAT = 40_000
"""A user id that nobody has."""


class ServiceManager:
    """A socket like systemd's, on which a service tells how it stands."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)  # noqa: FBT003 - its only argument
        self._told: list[str] = []

    def read(self) -> list[str]:
        """Return all that was told up to now."""
        while True:
            try:
                self._told.append(self._socket.recv(1 << 16).decode())
            except BlockingIOError:
                return self._told

    def close(self) -> None:
        self._socket.close()

    def status(self) -> str:
        """Return the unit's status as it stands."""
        lines = [line for datagram in self.read() for line in datagram.splitlines()]
        return next((line.removeprefix("STATUS=") for line in reversed(lines) if line.startswith("STATUS=")), "")


@pytest.fixture
def manager(exim: EximServer) -> Iterator[ServiceManager]:
    manager = ServiceManager(exim.directory)
    yield manager
    manager.close()


def managed(exim: EximServer, manager: ServiceManager) -> Eximcertd:
    daemon = Eximcertd(exim)
    daemon.environment["NOTIFY_SOCKET"] = str(manager.path)
    return daemon


def reload(daemon: Eximcertd) -> None:
    """Have the configuration read again."""
    before = daemon.words().count("configuration")
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: daemon.words().count("configuration") > before, "the configuration was read again")


def as_pat(daemon: Eximcertd, group: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run eximcertctl as another user who is in one group."""
    command = [program("eximcertctl"), "--socket", str(daemon.socket), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, user=PAT, group=PAT, extra_groups=[group]
    )


@needs_root
def test_a_change_of_readers_and_approvers_counts_from_the_reload_on(exim: EximServer) -> None:
    group = grp.getgrnam("mail")
    exim.directory.chmod(0o755)
    with Eximcertd(exim) as daemon:
        assert as_pat(daemon, group.gr_gid, "status").returncode == 5
        daemon.configure({"control": {"readers": ["mail"]}})
        assert as_pat(daemon, group.gr_gid, "status").returncode == 5, "the file alone changes nothing"
        reload(daemon)
        assert as_pat(daemon, group.gr_gid, "status").returncode == 0
        assert daemon.status()["control"] == {"readers": ["mail"], "approvers": []}
        daemon.configure({"control": {"readers": []}})
        reload(daemon)
        assert as_pat(daemon, group.gr_gid, "status").returncode == 5


def test_what_needs_a_restart_is_said_in_the_units_status_and_the_rest_counts(
    exim: EximServer, manager: ServiceManager, tmp_path: Path
) -> None:
    with managed(exim, manager) as daemon:
        until(lambda: "READY=1" in manager.read(), "it is ready")
        daemon.configure({"log": {"path": str(tmp_path / "other")}, "control": {"readers": ["mail"]}})
        reload(daemon)
        until(lambda: "[log]" in manager.status(), "the status says what waits for a restart")
        assert manager.status() == "a change of [log] waits for a restart of eximcertd"
        status = daemon.status()
        assert (status["log"]["path"], status["control"]["readers"]) == (str(exim.log), ["mail"])
        daemon.configure({"log": {"path": str(exim.log)}})
        reload(daemon)
        until(lambda: not manager.status(), "nothing waits any more")


def test_a_mistake_is_told_in_one_line_and_the_old_configuration_runs(
    exim: EximServer, manager: ServiceManager
) -> None:
    with managed(exim, manager) as daemon:
        daemon.configure({"queue": {"unmatched_limit": "many", "forget_pending_after": "soon"}})
        reload(daemon)
        until(lambda: "refused" in manager.status(), "the status says so")
        for where in (manager.status(), daemon.words()):
            assert "unmatched_limit" in where
            assert "forget_pending_after" in where
            assert "\\n" not in where
        assert daemon.answers()
        [reloading] = [datagram for datagram in manager.read() if datagram.startswith("RELOADING=1")]
        assert "MONOTONIC_USEC=" in reloading


def test_the_default_group_may_be_missing_and_that_is_told(exim: EximServer) -> None:
    if "eximcertd" in {group.gr_name for group in grp.getgrall()}:
        pytest.skip("this machine has the group")
    daemon = Eximcertd(exim)
    daemon.configure({"control": {"readers": None}})
    with daemon:
        assert daemon.status()["pid"] == daemon.pid
        assert "there is no group eximcertd" in daemon.words()
    daemon.configure({"control": {"readers": ["no-such-group"]}})
    daemon.spawn()
    assert daemon.wait() == 78, "a group that somebody named must be there"
