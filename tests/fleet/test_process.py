"""The process eximcertd-fleet: its start and end, its exit statuses, what it tells systemd, what it imports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from lab.daemon import program
from lab.home import Home
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("eximcertd-fleet"), "--config", str(config), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(
    ("section", "configured", "plain", "told"),
    [
        ("", 1, 78, "[fleet] relay is not set: this relay is in no fleet"),
        ("[fleet]\n", 1, 78, "this relay is in no fleet"),
        ('[fleet]\nrelay = "mx1"\n', 0, 78, "either directory"),
        ("[fleet\n", 0, 78, "TOML"),
    ],
)
def test_without_a_whole_fleet_section_it_does_not_start(
    tmp_path: Path, section: str, configured: int, plain: int, told: str
) -> None:
    (config := tmp_path / "x.toml").write_text(section)
    assert run(config, "--configured").returncode == configured
    done = run(config)
    assert done.returncode == plain
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where a service manager would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        yield listener


def test_it_is_ready_says_what_is_wrong_and_ends_at_sigterm(tmp_path: Path, manager: socket.socket) -> None:
    home = Home(tmp_path)
    config = tmp_path / "x.toml"
    config.write_text(
        f'[control]\nsocket = "{tmp_path}/control"\n[fleet]\nrelay = "mx1"\n'
        f'directory = "{home.directory}"\nsigners = "{home.signers}"\n'
    )
    assert run(config, "--configured").returncode == 0
    told: list[str] = []

    def seen(what: str) -> bool:
        told.append(manager.recv(4096).decode())
        return told[-1].startswith(what)

    process = subprocess.Popen(
        [program("eximcertd-fleet"), "--config", str(config)],
        env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: seen("READY=1"), "it is ready", limit=60)
        until(lambda: seen("STATUS=eximcertd does not answer"), "it says that eximcertd is not there", limit=60)
        assert "WATCHDOG=1" in told  # the directory has answered: it has the report that eximcertd is not there
        process.send_signal(signal.SIGTERM)
        until(lambda: seen("STOPPING=1"), "it stops", limit=60)
        _, words = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert words.count("the socket does not exist") == 1
    assert "Traceback" not in words
    (state,) = home.desk().relays()
    assert state.report is not None
    assert "the socket does not exist" in state.report.problem


def test_the_directory_alone_needs_neither_asyncio_nor_a_database() -> None:
    code = "import sys, eximcertd.fleet.directory, eximcertd.fleet.process; print(*sys.modules)"
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}  # it loads sqlite3 itself
    call = [sys.executable, "-c", code]
    loaded = subprocess.run(call, env=env, capture_output=True, text=True, check=True).stdout.split()
    assert not {"psycopg", "asyncio", "sqlite3", "watchdog", "cryptography"} & set(loaded)
