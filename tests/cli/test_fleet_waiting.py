"""approve --wait in a fleet: so many relays have been seen to honour the decision, or it is not live."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from lab.wait import until

from eximcertd.cli.connection import Context
from eximcertd.cli.fleet.connection import DeskConnection
from eximcertd.cli.fleet.waiting import Wait, honoured
from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from lab.certificates import Identity
    from lab.desk import Site

A = Fingerprint("A" * 64)


def test_wait_returns_when_so_many_relays_report_that_exim_honours_it(
    site: Site, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    site.reports("mx3")

    def follow() -> None:
        until(lambda: len(site.acts()) == 1, "the act is there")
        site.reports("mx3", live=1)
        site.reports("mx2", live=1)

    relays = threading.Thread(target=follow)
    relays.start()
    done = site.ctl("approve", name, "--wait", "all", "--timeout", "60")
    relays.join()
    assert done.status == 0
    assert "Exim honours it on 2 of 2 relays." in done.out


def test_relays_that_do_not_honour_it_in_time_are_named_and_it_is_6(
    site: Site, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    for other in ("mx3", "mx4"):
        site.reports(other, live=1)
    done = site.ctl("approve", name, "--wait", "all", "--timeout", "0.1")
    assert done.status == 6
    assert "2 of 3 relays honour it; 3 were asked for. Not yet: mx2." in done.err
    quorum = site.ctl("approve", name, "--wait", "quorum", "--timeout", "0.1", "--json")
    assert quorum.status == 0
    assert quorum.json["publication"]["relays"] == {"live": ["mx3", "mx4"], "waiting": ["mx2"]}
    assert site.ctl("approve", name, "--wait", "2", "--timeout", "0.1").status == 0


@pytest.mark.parametrize("many", ["0", "4", "-1", "some", "1.5"])
def test_a_number_of_relays_that_there_cannot_be_decides_nothing(site: Site, many: str) -> None:
    site.reports("mx2")
    done = site.ctl("approve", A, "--without-certificate", "--wait", many)
    assert done.status == 2
    assert site.acts() == []


def test_a_relay_that_has_more_acts_than_the_fleet_follows_another_chain_and_does_not_count(
    site: Site, alice: Identity, name: Fingerprint
) -> None:
    site.sees("mx2", name, alice.der)
    site.reports("mx2", live=5)
    done = site.ctl("approve", name, "--wait", "all", "--timeout", "0.1")
    assert done.status == 6
    assert "0 of 1 relays honour it; 1 were asked for. Not yet: mx2." in done.err


def test_an_act_that_the_fleet_has_lost_is_honoured_by_nobody(site: Site) -> None:
    lost = site.home.act("approve", A)
    for file in (site.home.directory / "acts").iterdir():
        file.unlink()
    site.home.act("reject", A, by="bob")
    site.reports("mx2", live=1)
    with DeskConnection(Context(site.config, None)) as connection:
        assert not honoured(connection, connection.here, lost, Wait("all", 0.1))["live"]


def test_a_relay_that_is_removed_meanwhile_is_waited_for_until_the_time_is_over(site: Site) -> None:
    act = site.home.act("approve", A)
    site.reports("mx2", live=1)
    with DeskConnection(Context(site.config, None)) as connection:
        found = honoured(connection, connection.here, act, Wait("2", 0.1))
    assert not found["live"]
    assert "the fleet has 1 relay" in found["message"]
