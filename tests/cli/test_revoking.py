"""revoke with a real Exim: open sessions, queued mail, root's way past a daemon that is down."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from lab.callers import as_nobody, ctl_as_nobody, needs_root
from lab.ctl import ctl
from lab.daemon import Eximcertd
from lab.entries import certificate
from lab.exim import EXIM, EximServer
from lab.smtp import Session, ask, session
from lab.twins import LIVE, Twin
from lab.wait import until

from eximcertd.cli.sessions import _address, older
from eximcertd.cli.spool import messages
from eximcertd.exim.daemons import EximFacts, daemons, facts
from eximcertd.exim.settings import Exim
from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.certificates import Identity

    from eximcertd.control.server import Caller


@pytest.fixture
def server(alice: Identity, mallory: Identity) -> Iterator[EximServer]:
    """Run an Exim that relays for Alice and Mallory, and keeps what it accepts in its queue."""
    allowed = [alice.fingerprint, mallory.fingerprint]
    with EximServer(trusted=[alice, mallory], allowed=allowed, main="queue_only = true") as server:
        yield server


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


def test_queued_mail_of_a_client_is_found_by_its_certificate(
    server: EximServer, alice: Identity, mallory: Identity
) -> None:
    for identity in (alice, mallory, alice):
        with session(server.port, identity) as open_session:
            assert open_session.send("hello").accepted
    assert list(messages(server.spool, {mallory.fingerprint}).values()) == [mallory.fingerprint]
    assert len(messages(server.spool, {alice.fingerprint})) == 2
    assert messages(server.spool, {"A" * 64}) == {}


def test_a_fifo_a_link_and_a_socket_in_the_spool_do_not_stop_the_search(server: EximServer, alice: Identity) -> None:
    with session(server.port, alice) as open_session:
        assert open_session.send("hello").accepted
    os.mkfifo(server.spool / "input" / "1xVAyN-00064E-0s-H")
    (server.spool / "input" / "1xVAyN-00064E-0t-H").symlink_to("/dev/zero")
    (server.spool / "input" / "q-H").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(server.spool / "input" / "1xVAyN-00064E-0u-H"))
        assert list(messages(server.spool, {alice.fingerprint}).values()) == [alice.fingerprint]


def test_revoke_counts_the_open_sessions_names_the_queued_mail_and_ends_the_sessions(
    server: EximServer, alice: Identity, mallory: Identity
) -> None:
    with Eximcertd(server) as daemon:
        with session(server.port, alice) as sending:
            assert sending.send("hello").accepted
        holding = Session(server.port, alice)
        assert holding.rcpt().accepted
        done = daemon.ctl("revoke", alice.fingerprint[:8], "--note", "stolen")
        assert done.returncode == 0, done.stderr
        assert "1 open session still with the old list (from 127.0.0.1): --end-sessions ends them." in done.stdout
        assert "1 message that Exim accepted from it before, still queued:" in done.stdout
        [queued] = messages(server.spool, {alice.fingerprint})
        assert queued in done.stdout
        assert holding.rcpt().accepted, "an open session has the old list"
        younger = Session(server.port, mallory)
        assert younger.rcpt().accepted
        again = daemon.ctl("revoke", alice.fingerprint, "--end-sessions", "--json")
        assert again.returncode == 0, again.stderr
        found = json.loads(again.stdout)["sessions"]
        assert (found["open"], found["ended"]) == (0, 1)
        assert holding.rcpt().unreachable, "its session was ended"
        assert younger.rcpt().accepted, "one that began with the new list goes on"
        assert ask(server.port, alice).refused
        younger.close()
        holding.close()


def test_in_the_directory_form_open_sessions_obey_at_once(server: EximServer, alice: Identity) -> None:
    with Eximcertd(server, {"allowlist": {"form": "directory"}}) as daemon, session(server.port, alice) as holding:
        server.reload()
        until(lambda: ask(server.port, alice).accepted, "the directory is asked")
        with session(server.port, alice) as younger:
            assert younger.rcpt().accepted
            done = daemon.ctl("revoke", alice.fingerprint)
            assert done.returncode == 0, done.stderr
            assert "in open sessions too" in done.stdout
            assert younger.rcpt().refused
        holding.close()


def test_offline_throws_out_without_the_daemon_and_the_ledger_learns_of_it(
    server: EximServer, alice: Identity, mallory: Identity
) -> None:
    daemon = Eximcertd(server)
    with daemon:
        assert daemon.ctl("revoke", alice.fingerprint, "--offline").returncode == 2
        assert daemon.entries()[alice.fingerprint]["standing"] == "approved"
    done = daemon.ctl("revoke", alice.fingerprint[:10], "--offline", "--note", "at night")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"revoked  {grouped(alice.fingerprint)}")
    assert ask(server.port, alice).refused
    assert ask(server.port, mallory).accepted
    [line] = (daemon.state / "offline").read_text().splitlines()
    assert json.loads(line)["fingerprint"] == alice.fingerprint
    assert not (daemon.allowed / alice.fingerprint).exists()
    with daemon:
        entry = daemon.entries()[alice.fingerprint]
        assert entry["standing"] == "revoked"
        assert entry["decision"]["note"] == "at night"
        assert ask(server.port, alice).refused


def test_offline_writes_the_decision_down_though_exims_configuration_is_broken(
    server: EximServer, alice: Identity
) -> None:
    daemon = Eximcertd(server)
    with daemon:
        pass
    server.break_configuration()
    done = daemon.ctl("revoke", alice.fingerprint, "--offline")
    assert done.returncode == 6, done.stdout + done.stderr
    assert "NOT YET LIVE" in done.stderr
    assert server.alive()
    server.configure()
    with daemon:
        until(lambda: daemon.status()["allowlist"]["live"], "it is live")
        assert ask(server.port, alice).refused


def test_offline_knows_whom_exim_honours(server: EximServer, alice: Identity) -> None:
    daemon = Eximcertd(server)
    with daemon:
        pass
    done = daemon.ctl("revoke", "DEADBEEF", "--offline")
    assert done.returncode == 3
    assert not (daemon.state / "offline").exists()
    assert ask(server.port, alice).accepted


def test_a_line_that_a_power_cut_left_is_no_decision(server: EximServer, alice: Identity) -> None:
    daemon = Eximcertd(server)
    with daemon:
        pass
    offline = daemon.state / "offline"
    offline.write_text('{"request": "1", "ver')
    assert daemon.ctl("revoke", alice.fingerprint, "--offline").returncode == 0
    [line] = offline.read_text().splitlines()
    assert json.loads(line)["fingerprint"] == alice.fingerprint


@needs_root
@pytest.mark.parametrize("option", ["--offline", "--allow-shrink"])
def test_roots_options_are_roots(server: EximServer, alice: Identity, option: str) -> None:
    daemon = Eximcertd(server)
    done = ctl_as_nobody("--config", daemon.config, "revoke", alice.fingerprint, option)
    assert done.returncode == 5
    assert f"{option} is for root" in done.stderr


def test_root_overrides_the_limit_on_large_revocations(server: EximServer, alice: Identity) -> None:
    many = [f"{number:064X}" for number in range(10, 20)]
    server.allow([*many, alice.fingerprint])
    server.reload()
    with Eximcertd(server, {"publish": {"max_shrink": 10}}) as daemon:
        refused = daemon.ctl("revoke", *many)
        assert refused.returncode == 6
        assert "--allow-shrink" in refused.stderr
        assert ask(server.port, alice).accepted
        allowed = daemon.ctl("revoke", *many, "--allow-shrink")
        assert allowed.returncode == 0, allowed.stderr
        assert not set(many) & set(server.macro_file.read_text().split())
        assert ask(server.port, alice).accepted


def test_no_process_is_ended_because_eximcertd_names_it(exim: EximServer, alice: Identity, tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as victim, session(exim.port, alice) as holding:
        until(exim.sessions, "the session has its process")

        async def taken_over(_: Caller, given: dict[str, Any]) -> dict[str, Any]:
            entry = {**certificate("CN=x"), "fingerprint": given["fingerprints"][0], "standing": "revoked"}
            entry |= {"certificate": None, "decision": None, "revoke_at": None, "renews": None, "warnings": []}
            entry["same_name"] = []
            forged = {"exim_pid": os.getpid(), "loaded_at": "2999-01-01T00:00:00Z"}
            return {"decided": [entry], "publication": {**LIVE, **forged}}

        with Twin(Eximcertd(exim).socket, methods={"Decide": taken_over}):
            config = Eximcertd(exim).config
            done = ctl("--config", config, "revoke", alice.fingerprint, "--end-sessions")
        assert "1 open session with the old list ended (from 127.0.0.1)." in done.out
        assert holding.rcpt().unreachable
        assert victim.poll() is None, "a child of the process that eximcertd named lives on"
        victim.terminate()
    assert exim.alive()
    assert ask(exim.port, alice).refused


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


def test_messages_in_every_kind_of_queue_are_found(server: EximServer, alice: Identity) -> None:
    with session(server.port, alice) as open_session:
        assert open_session.send("hello").accepted
    [header] = (server.spool / "input").glob("*-H")
    for number, place in enumerate(("input/a", "slow/input", "slow/input/b")):
        (server.spool / place).mkdir(parents=True)
        shutil.copy(header, server.spool / place / header.name.replace("-H", f"{number}-H"))
    assert len(messages(server.spool, {alice.fingerprint})) == 4
    elsewhere = server.directory / "elsewhere"
    (elsewhere / "input").mkdir(parents=True)
    shutil.copy(header, elsewhere / "input" / "linked-H")
    (server.spool / "linked").symlink_to(elsewhere)
    assert len(messages(server.spool, {alice.fingerprint})) == 4, "no link is followed"


@pytest.mark.parametrize("name", ["input/1-H", "input/other", "another/1", "x"])
def test_a_queue_that_is_too_large_is_not_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert messages(tmp_path, {"A" * 64}) == {}
    with pytest.raises(OSError, match="not all of it was read within 0 s"):
        messages(tmp_path, {"A" * 64}, limit=0.0)


def test_a_spool_that_has_never_had_a_message_has_none_and_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert messages(tmp_path, {"A" * 64}) == {}
    with pytest.raises(OSError, match="none"):
        messages(tmp_path / "none", {"A" * 64})


def test_no_link_is_followed_to_the_queue_itself(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "input").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="input"):
        messages(tmp_path, {"A" * 64})
