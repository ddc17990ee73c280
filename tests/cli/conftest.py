"""The fixtures of the tests of eximcertctl: a twin of the daemon, and the options that lead to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from lab.desk import RelayTwin, Site
from lab.exim import EximServer
from lab.twins import Twin

from eximcertd.fingerprint import Fingerprint, of_der

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.certificates import Identity


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    """Run a twin of the daemon."""
    with Twin(tmp_path / "control") as twin:
        yield twin


@pytest.fixture
def at(twin: Twin) -> tuple[str, str]:
    """Give the options that lead to the twin."""
    return ("--socket", str(twin.path))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Make a fleet by files, whose machine is mx1."""
    return Site(tmp_path)


@pytest.fixture
def relay(site: Site) -> Iterator[RelayTwin]:
    """Run a twin of the eximcertd of the fleet's machine, which follows the fleet."""
    with RelayTwin(site) as twin:
        yield twin


@pytest.fixture
def name(alice: Identity) -> Fingerprint:
    """Give the fingerprint of Alice's certificate."""
    return of_der(alice.der)


@pytest.fixture
def server(alice: Identity, mallory: Identity) -> Iterator[EximServer]:
    """Run an Exim that relays for Alice and Mallory, and keeps what it accepts in its queue."""
    allowed = [alice.fingerprint, mallory.fingerprint]
    with EximServer(trusted=[alice, mallory], allowed=allowed, main="queue_only = true") as server:
        yield server


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Show times in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
