"""The watchdog starts the service again when its reader hangs, and only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.stopped import reading_thread, stopped
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from lab.machine import Machine

INTERVAL = 15
"""Seconds: long enough for a question to be answered between the hang and the kill on a busy machine."""


@pytest.fixture(scope="module")
def watched(relay: Machine) -> Machine:
    """Shorten the watchdog's interval, so that nobody has to wait for half a minute."""
    relay.sh("mkdir -p /run/systemd/system/eximcertd.service.d")
    relay.write("/run/systemd/system/eximcertd.service.d/watchdog.conf", f"[Service]\nWatchdogSec={INTERVAL}\n")
    relay.sh("systemctl daemon-reload")
    relay.restart()
    return relay


def sign_of_life(machine: Machine) -> float:
    """Return when the last one came, in seconds since the boot."""
    return int(machine.unit("eximcertd", "WatchdogTimestampMonotonic")) / 1e6


def test_a_log_in_which_nothing_happens_is_not_taken_for_a_hang(watched: Machine) -> None:
    pid, began = watched.pid(), sign_of_life(watched)
    size = watched.sh("stat -c %s /var/log/exim4/mainlog")
    until(lambda: sign_of_life(watched) > began + 1.5 * INTERVAL, "signs of life go on", limit=60)
    assert watched.sh("stat -c %s /var/log/exim4/mainlog") == size
    assert watched.pid() == pid


def test_a_reader_that_hangs_alone_is_brought_back_with_nothing_lost(watched: Machine, tmp_path: Path) -> None:
    client = make(tmp_path, "hanging.example")
    watched.trust(client)
    assert watched.rcpt(client) == 550
    watched.counted(client, 1)
    pid, restarts = watched.pid(), int(watched.unit("eximcertd", "NRestarts"))
    log = watched.path("/var/log/exim4/mainlog")
    with stopped(reading_thread(watched.from_outside(pid), log)) as reader:
        assert watched.attempts(client) == 1  # the loop lives, and answers
        assert watched.rcpt(client, times=2) == 550
        until(reader.ended, "systemd kills it", limit=60)
    until(lambda: watched.pid() not in {0, pid}, "systemd starts it again", limit=60)
    until(lambda: watched.unit("eximcertd", "ActiveState") == "active", "it is ready", limit=30)
    assert int(watched.unit("eximcertd", "NRestarts")) == restarts + 1
    until(
        lambda: any("watchdog" in str(one["MESSAGE"]).lower() for one in watched.journal("UNIT=eximcertd.service")),
        "the journal says that it was the watchdog",
        limit=30,
    )
    watched.counted(client, 3)
