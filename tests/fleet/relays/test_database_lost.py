"""Three relays with real Exims, and a database behind a proxy that is deaf, or one that fails over and loses acts."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from lab.certificates import make
from lab.line import Line
from lab.mx import away
from lab.postgres import Cluster
from lab.relays import OnPostgres, approve, open_ones, where
from lab.standby import Pair
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lab.certificates import Identity


class BehindAProxy(OnPostgres):
    """Relays of which mx2 reaches the database through a proxy on its own host."""

    def prepare(self) -> None:
        """Start the proxy too."""
        super().prepare()
        self.line = self._stack.enter_context(self.network["mx2"].inside(lambda: Line(self.cluster)))

    def way(self, name: str) -> Mapping[str, Any]:
        """See OnPostgres."""
        return {"hostaddr": "127.0.0.1", "port": self.line.port} if name == "mx2" else {}


class WithAStandby(OnPostgres):
    """Relays and people who know the database and its standby."""

    def prepare(self) -> None:
        """Start the standby too."""
        super().prepare()
        self.pair = Pair(self.cluster, self._stack.enter_context(Cluster(of=self.cluster, host=self.network["db"])))

    def way(self, _: str) -> Mapping[str, Any]:
        """See OnPostgres."""
        return self.pair.both


@pytest.fixture
def clients(tmp_path: Path) -> list[Identity]:
    """Make three clients."""
    return [make(tmp_path, f"client{number}.example") for number in range(3)]


def test_a_deaf_proxy_is_noticed_and_keeps_nobody_out(tmp_path: Path, clients: list[Identity]) -> None:
    before, meanwhile, _ = clients
    with BehindAProxy(tmp_path, clients) as relays:
        mx2 = relays.all["mx2"]
        approve(relays, before)
        relays.line.deaf = True
        until(lambda: away(mx2), "it is noticed that nothing answers", limit=120)
        assert "no answer within 20 s" in mx2.output.read_text()
        approve(relays, meanwhile, "--wait", "quorum")
        assert where(relays, meanwhile) == ["mx1", "mx3"]
        assert where(relays, before) == ["mx1", "mx2", "mx3"], "it goes on with the list that it has"
        relays.line.deaf = False
        until(lambda: mx2.relays(meanwhile) and relays.in_step(), "it follows again", limit=120)


def test_after_a_failover_that_lost_acts_what_they_decided_holds_on_every_relay_until_it_is_settled(
    tmp_path: Path, clients: list[Identity]
) -> None:
    revoked, approved, other = clients
    with WithAStandby(tmp_path, clients) as relays:
        mx1 = relays.all["mx1"]
        approve(relays, revoked)
        relays.pair.in_step()
        with relays.pair.held():
            approve(relays, approved)
            assert relays.ctl(mx1, "revoke", revoked.fingerprint).returncode == 0
            until(lambda: not where(relays, revoked) and relays.in_step(), "the two acts are everywhere", limit=120)
            relays.pair.primary.stop(signal.SIGQUIT)
        relays.pair.standby.promote()
        assert relays.desk().head().generation == 1
        for name in other.fingerprint, "0" * 63 + "1", "0" * 63 + "2":
            relays.act("reject", name)
        until(
            lambda: len(open_ones(relays, approved)) == len(open_ones(relays, revoked)) == 3,
            "every relay tells what was lost, though the number of the newest act has grown",
            limit=120,
        )
        assert where(relays, approved) == ["mx1", "mx2", "mx3"]
        assert where(relays, revoked) == []
        settled = "--refused", "revoke", "--approved", "approve"
        done = relays.ctl(mx1, "fleet", "settle", *settled, "--without-certificate")
        assert done.returncode == 0, done.stdout + done.stderr
        until(lambda: relays.in_step() and not open_ones(relays, approved), "all is settled", limit=120)
        assert open_ones(relays, revoked) == []
        assert where(relays, approved) == ["mx1", "mx2", "mx3"]
        assert where(relays, revoked) == []
