"""Root's ways past a daemon that is down, and past the limit on large revocations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from lab.callers import ctl_as_nobody, needs_root
from lab.daemon import Eximcertd
from lab.smtp import ask
from lab.wait import until

from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    from lab.certificates import Identity
    from lab.exim import EximServer


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
