"""Servers and laptops for the client's side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.exim import EximServer
from lab.laptop import ADDRESS, Laptop
from lab.recipe import PINNED_ACL

if TYPE_CHECKING:
    from collections.abc import Iterator

BOTH = f"local_interfaces = 127.0.0.1 : {ADDRESS}"


@pytest.fixture
def server() -> Iterator[EximServer]:
    """Run a server with the pinned recipe, which has approved nobody, at the address where a laptop looks for it."""
    with EximServer(acl=PINNED_ACL, main=BOTH) as running:
        yield running


@pytest.fixture
def impostor(server: EximServer) -> Iterator[EximServer]:
    """Make a server with another certificate that takes every message, to be started once the first one is stopped."""
    other = EximServer(acl="  accept\n", main=BOTH)
    other.port = server.port
    other.configure()
    yield other
    other.stop()
    other.remove()


@pytest.fixture
def laptop() -> Iterator[Laptop]:
    """Make a laptop as Debian's packages leave it."""
    with Laptop() as made:
        yield made
