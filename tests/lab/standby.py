"""A database with a streaming standby, which can be held back and promoted."""

from __future__ import annotations

import signal
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from psycopg.sql import SQL

from eximcertd.fleet.postgres import PostgresDesk, PostgresRelaySide
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from lab.postgres import Cluster


class Pair:
    """A primary with a streaming standby. both: what a service that names both has. stack: closes what was opened."""

    def __init__(self, primary: Cluster, standby: Cluster) -> None:
        self.primary, self.standby = primary, standby
        self.stack = ExitStack()
        self.both: dict[str, Any] = {"host": "localhost,localhost", "hostaddr": f"{primary.address},{standby.address}",
                     "port": f"{primary.port},{standby.port}"}  # fmt: skip

    def desk(self, limit: float = 10) -> PostgresDesk:
        """Open alice's desk."""
        desk = PostgresDesk(self.primary.settings("alice", **self.both), limit)
        self.stack.callback(desk.close)
        return desk

    def relay(self, name: str) -> PostgresRelaySide:
        """Open a relay's side."""
        relay = PostgresRelaySide(self.primary.settings(name, **self.both))
        self.stack.callback(relay.close)
        return relay

    def in_step(self) -> None:
        """Wait until the standby has all that the primary has."""
        with self.primary.superuser() as here, self.standby.superuser() as there:
            ((position,),) = here.execute("SELECT pg_current_wal_lsn()").fetchall()
            behind = "SELECT pg_last_wal_replay_lsn() >= %s"
            until(lambda: there.execute(behind, [position]).fetchall() == [(True,)], "the standby is in step", limit=30)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Cut the standby off from the primary."""
        with self.standby.superuser() as there:
            ((source,),) = there.execute("SHOW primary_conninfo").fetchall()
            for value in ("", source):
                there.execute(SQL("ALTER SYSTEM SET primary_conninfo = {}").format(value))
                there.execute("SELECT pg_reload_conf()")
                if not value:
                    until(lambda: not _receivers(there), "the standby receives nothing", limit=30)
                    yield

    def fail_over(self) -> None:
        """Cut the primary's power, and promote the standby."""
        self.primary.stop(signal.SIGQUIT)
        self.standby.promote()


def _receivers(standby: Connection[Any]) -> list[Any]:
    return standby.execute("SELECT FROM pg_stat_wal_receiver").fetchall()
