"""A fleet with three acts, and loops of eximcertd-fleet that end with the test; a fleet in a directory, with two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lab.fleet import Fleet
from lab.home import Home
from lab.syncing import Syncing

from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

A, B, C = (Fingerprint(digit * 64) for digit in "ABC")


@pytest.fixture
def fleet() -> Fleet:
    """Make a fleet with three acts."""
    fleet = Fleet()
    for one in (A, B, C):
        fleet.act("approve", one)
    return fleet


@pytest.fixture
def start() -> Iterator[Callable[..., Syncing]]:
    """Start a loop; it ends with the test."""
    every: list[Syncing] = []

    def begin(*arguments: Any) -> Syncing:
        every.append(Syncing(*arguments))
        return every[-1]

    yield begin
    for one in every:
        one.stop()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Make a fleet in which nothing is decided."""
    return Home(tmp_path)


@pytest.fixture
def two(home: Home) -> Home:
    """Make a fleet with two acts."""
    home.act("approve", A)
    home.act("revoke", A, by="bob")
    return home
