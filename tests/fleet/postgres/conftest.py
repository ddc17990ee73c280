"""One cluster for all tests of a worker; each test begins with empty tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.fleet_database import FleetDatabase
from lab.postgres import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        for name in ("mx1.example.org", "mx2.example.org", "mx3.example.org"):
            running.add_relay(name)
        for name in ("alice", "bob"):
            running.add_approver(name)
        running.add_reader("rita")
        yield running


@pytest.fixture
def fleet(cluster: Cluster) -> Iterator[FleetDatabase]:
    cluster.fresh()
    with FleetDatabase(cluster) as database:
        yield database
