"""Three relays with real Exims on hosts of their own, as a fleet over files and on PostgreSQL. mx3's clock is wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest
from lab.certificates import make
from lab.mx import an_hour_ahead, away
from lab.relays import OnPostgres, OverFiles, approve, open_ones, where
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity
    from lab.relays import Relays

CLIENTS: Final = 9


@pytest.fixture(scope="module", params=[OverFiles, OnPostgres])
def relays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relays]:
    base = tmp_path_factory.mktemp("fleet")
    base.chmod(0o755)
    clients = [make(base, f"client{number}.example") for number in range(CLIENTS)]
    with request.param(base, clients, environments={"mx3": an_hour_ahead(base / "ahead")}) as running:
        yield running


@pytest.fixture
def client(relays: Relays) -> Identity:
    """Return a client that no relay has seen yet."""
    return next(relays.clients)


another = client


def test_a_line_is_cut_for_a_minute_and_decisions_are_made_on_both_sides(
    relays: Relays, client: Identity, another: Identity, request: pytest.FixtureRequest
) -> None:
    mx1, _, mx3 = relays
    approve(relays, another)
    mx3.host.cut()
    mended = time.monotonic() + 60
    request.addfinalizer(mx3.host.mend)
    until(lambda: away(mx3), "the cut is noticed, though nobody tells", limit=120)
    assert "It stays open" in relays.ctl(mx3, "revoke", another.fingerprint).stderr
    assert mx3.ctl("approve", "--here", "--without-certificate", client.fingerprint).returncode == 0
    assert where(relays, another) == ["mx1", "mx2"]
    assert where(relays, client) == ["mx3"]
    assert relays.ctl(mx1, "reject", client.fingerprint).returncode == 0
    until(lambda: time.monotonic() > mended, "the minute is over", limit=61)
    mx3.host.mend()
    until(lambda: not mx3.relays(client), "the fleet's rejection, which nobody knew there, counts", limit=120)
    until(lambda: open_ones(relays, another) == [("mx3", "revoke")], "what was decided there is told", limit=120)
    assert open_ones(relays, client) == [("mx3", "approve")]
    assert where(relays, another) == ["mx1", "mx2"], "a revocation made there holds there"
    refused = relays.ctl(mx1, "approve", another.fingerprint, "--without-certificate")
    assert refused.returncode == 7
    assert "revoked on mx3" in refused.stderr
    assert relays.ctl(mx1, "fleet", "settle", "--refused", "revoke", "--approved", "revoke").returncode == 0
    until(lambda: not where(relays, another) and relays.in_step(), "it is revoked everywhere", limit=120)
    assert open_ones(relays, client) == open_ones(relays, another) == []


def test_a_restored_backup_locks_nobody_out_and_is_settled(relays: Relays, client: Identity, another: Identity) -> None:
    mx1 = relays.all["mx1"]
    generation = relays.desk().head().generation
    approve(relays, client)
    relays.lose(generation)
    relays.act("reject", another.fingerprint)
    assert relays.desk().head().generation == generation + 1, "another act has the number"
    until(lambda: len(open_ones(relays, client)) == 3, "what was lost is a decision of the three", limit=120)
    assert where(relays, client) == ["mx1", "mx2", "mx3"]
    done = relays.ctl(mx1, "fleet", "settle", "--approved", "approve", "--without-certificate")
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: relays.in_step() and not open_ones(relays, client), "all is settled", limit=120)
    assert where(relays, client) == ["mx1", "mx2", "mx3"]


def test_a_relay_that_was_away_for_a_month_takes_what_it_lacks(relays: Relays, client: Identity) -> None:
    mx2 = relays.all["mx2"]
    approve(relays, client)
    mx2.stop()
    for day in range(1, 31):
        relays.act("approve", *(f"{day:02}{number:062X}" for number in range(5)))
    relays.act("revoke", client.fingerprint)
    until(lambda: where(relays, client) == ["mx2"], "the others have it", limit=120)
    mx2.start()
    until(lambda: not where(relays, client) and relays.in_step(), "it has it too", limit=120)


def test_a_client_that_one_relay_refused_is_approved_once_and_relays_everywhere(
    relays: Relays, client: Identity
) -> None:
    relays.all["mx2"].refused(client)
    mx1 = relays.all["mx1"]
    until(
        lambda: client.fingerprint in relays.ctl(mx1, "fleet", "pending", "--json").stdout, "the queue has it", limit=30
    )
    done = relays.ctl(mx1, "approve", client.fingerprint[:16], "--wait", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Exim honours it on 3 of 3 relays" in done.stdout
    assert where(relays, client) == ["mx1", "mx2", "mx3"]


def test_a_clock_that_is_an_hour_ahead_changes_no_order_and_is_shown(relays: Relays, client: Identity) -> None:
    mx1, _, mx3 = relays
    assert mx3.ctl("approve", "--here", "--without-certificate", client.fingerprint).returncode == 0
    assert where(relays, client) == ["mx3"]
    done = relays.ctl(mx1, "reject", client.fingerprint)
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: not mx3.relays(client), "what the fleet decided later in truth counts", limit=120)
    until(relays.in_step, "all have it", limit=120)
    clocks = {one["relay"]: one["clock"] for one in relays.json(mx1, "fleet")["relays"]}
    assert clocks == {"mx1": "right", "mx2": "right", "mx3": "wrong"}
    assert relays.ctl(mx1, "fleet", "settle", "--approved", "revoke").returncode == 0
