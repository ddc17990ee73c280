"""What a person is told is what every Exim does with a client: the words, the status, and the relay itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab.daemon import Eximcertd
from lab.exim import EXIM, EximServer
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity


@contextmanager
def another(exim: EximServer, name: str, *more: str, configuration: str = "") -> Iterator[int]:
    """Run one more daemon of the same configuration, by a link of another name, on the next port."""
    program, pid_file = exim.directory / name, exim.directory / "run" / "second.pid"
    program.symlink_to(EXIM)
    where = ("-oX", f"127.0.0.1.{exim.port + 1}", "-oP", str(pid_file))
    command = [program, "-C", configuration or exim.configuration, "-bdf", *where, *more]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=exim.configuration.parent) as process:
        try:
            until(pid_file.exists, "it has written its pid file")
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["sendmail", "mta", "exim-4.96-1"])
def test_an_exim_that_runs_under_another_name_alone_gets_each_decision(
    exim: EximServer, alice: Identity, name: str
) -> None:
    exim.stop()
    with another(exim, name), Eximcertd(exim) as daemon:
        approved = daemon.ctl("approve", "--without-certificate", alice.fingerprint)
        assert (approved.returncode, approved.stderr) == (0, "")
        assert "Exim honours it" in approved.stdout
        assert ask(exim.port + 1, alice).accepted
        assert daemon.ctl("revoke", alice.fingerprint).returncode == 0
        assert ask(exim.port + 1, alice).refused


def test_a_revocation_holds_in_each_of_two_daemons_or_is_not_called_live(exim: EximServer, alice: Identity) -> None:
    with another(exim, "exim") as pid, Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        assert ask(exim.port + 1, alice).accepted
        os.kill(pid, signal.SIGSTOP)
        revoked = daemon.ctl("revoke", alice.fingerprint)
        assert revoked.returncode == 6
        assert f"process {pid}" in revoked.stdout + revoked.stderr
        assert not daemon.json("status")["allowlist"]["live"]
        os.kill(pid, signal.SIGCONT)
        assert daemon.ctl("revoke", alice.fingerprint).returncode == 0
        assert [ask(port, alice).refused for port in (exim.port, exim.port + 1)] == [True, True]
        assert daemon.json("status")["allowlist"]["live"]


@pytest.mark.parametrize("relative", [True, False])
def test_a_daemon_that_can_never_load_the_list_is_named_and_keeps_no_other_from_it(
    exim: EximServer, alice: Identity, relative: bool
) -> None:
    more = () if relative else (f"-DRELAY_FROM_CERTS={alice.fingerprint}",)
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        with another(exim, "exim", *more, configuration=exim.configuration.name if relative else "") as pid:
            revoked = daemon.ctl("revoke", alice.fingerprint)
            assert revoked.returncode == 6
            assert f"the Exim daemon {pid} was started with" in revoked.stderr
            assert ask(exim.port, alice).refused, "the other daemon has loaded it"
            assert ask(exim.port + 1, alice).accepted
            os.kill(pid, 0)
        assert daemon.ctl("revoke", alice.fingerprint).returncode == 0


def test_a_program_that_listens_in_exims_place_keeps_a_decision_from_being_live(
    exim: EximServer, alice: Identity
) -> None:
    exim.stop()
    with Eximcertd(exim) as daemon:
        with socket.create_server(("127.0.0.1", exim.port)):
            approved = daemon.ctl("approve", alice.fingerprint)
            assert approved.returncode == 6
            assert f"127.0.0.1:{exim.port} of user root" in approved.stdout + approved.stderr
        exim.start()
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        assert ask(exim.port, alice).accepted
