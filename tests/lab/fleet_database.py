"""The desks and relays of a fleet on a cluster's database."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import psycopg

from eximcertd.fleet.postgres import PostgresDesk, PostgresRelaySide

if TYPE_CHECKING:
    from lab.postgres import Cluster


class FleetDatabase:
    """Desks and relays on a cluster's database, closed at the end of a ``with`` block."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def desk(self, name: str = "alice", **changed: Any) -> PostgresDesk:
        """Open the desk of a person."""
        desk = PostgresDesk(self.cluster.settings(name, **changed))
        self._stack.callback(desk.close)
        return desk

    def relay(self, name: str = "mx1.example.org", *, hint: bool = True, **changed: Any) -> PostgresRelaySide:
        """Open a relay's side."""
        relay = PostgresRelaySide(self.cluster.settings(name, hint=hint, **changed))
        self._stack.callback(relay.close)
        return relay

    def as_role(self, name: str) -> psycopg.Connection[Any]:
        """Connect as a role with its certificate, to send any statement."""
        connection: psycopg.Connection[Any] = psycopg.connect(
            service=self.cluster.service(name), sslmode="verify-full", autocommit=True
        )
        self._stack.callback(connection.close)
        return connection
