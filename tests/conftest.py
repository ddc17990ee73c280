"""Fixtures for every room's tests; the lab that they come from is tests/lab."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from lab.certificates import Identity, make
from lab.exim import EximServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_configure() -> None:
    """Start every program with the defaults of SIGHUP and SIGINT, also under nohup and in a shell's background.

    One that ignores SIGHUP looks like a starting Exim.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


settings.register_profile("lab", deadline=None)  # a busy machine is no failure
settings.load_profile("lab")


def pytest_sessionfinish() -> None:
    """Save the lines that were counted, where they are: a worker may be ended before it can do that at its exit."""
    coverage = sys.modules.get("coverage")
    measured = coverage.Coverage.current() if coverage is not None else None
    if measured is not None:
        measured.save()


@pytest.fixture(scope="session")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Make the self-signed certificate of the laptop that most tests are about."""
    return make(tmp_path_factory.mktemp("alice"), "laptop.alice.example")


@pytest.fixture(scope="session")
def mallory(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Make somebody else's certificate."""
    return make(tmp_path_factory.mktemp("mallory"), "mallory.example")


@pytest.fixture
def identities(tmp_path: Path) -> Path:
    """Name a directory to make certificates in."""
    return tmp_path / "identities"


@pytest.fixture
def exim(alice: Identity, mallory: Identity) -> Iterator[EximServer]:
    """Run an Exim that knows the certificates of alice and mallory, and lets neither of them relay."""
    with EximServer(trusted=[alice, mallory]) as server:
        yield server
