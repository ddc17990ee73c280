"""authority in a fleet: an act, then this relay."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from lab.authorities import Signer

from eximcertd.fingerprint import Fingerprint, grouped

if TYPE_CHECKING:
    from pathlib import Path

    from lab.desk import RelayTwin, Site

A = Fingerprint("A" * 64)
SITE = Signer("Site CA")


def test_an_authority_is_approved_for_the_fleet_and_withdrawn(site: Site, relay: RelayTwin, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(SITE.pem)
    done = site.ctl("authority", "add", file, "--name", "*.example.org", "--note", "the site's")
    assert done.status == 0
    [act] = site.acts()
    _, pattern = act.detail.split(" ")
    assert (act.verb, pattern, act.note) == ("authorize", "*.example.org", "the site's")
    assert "Decided for the fleet: act 1 (authorize)." in done.out
    gone = site.ctl("authority", "withdraw", act.fingerprints[0][:16])
    assert gone.status == 0
    assert site.acts()[-1].verb == "withdraw"
    assert site.ctl("authority", "withdraw", "00000000").status == 3
    assert site.ctl("authority", "add", file, "--crl", file).status == 2


def test_a_clients_certificate_is_an_authority_with_ca_only(site: Site, relay: RelayTwin, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(SITE.pem)
    site.home.act("approve", SITE.fingerprint)
    done = site.ctl("authority", "add", file)
    assert done.status == 7
    assert "--ca overrides this" in done.err
    assert site.ctl("authority", "add", file, "--ca").status == 0


def test_a_withdrawal_that_the_fleet_does_not_take_holds_here_and_that_is_said(site: Site, relay: RelayTwin) -> None:
    relay.authorities = [{"fingerprint": A, "subject": "CN=Site CA", "standing": "approved", "names": []}]
    site.home.make_key("mallory")
    done = site.ctl("authority", "withdraw", A[:16], who="mallory")
    assert done.status == 6
    assert relay.authorities[0]["standing"] == "withdrawn"
    assert "THE FLEET DOES NOT KNOW IT" in done.err
    assert "it may not decide" in done.err
    assert "On the other relays it is not withdrawn: repeat the command." in done.err
    assert site.acts() == []
    assert site.ctl("authority", "withdraw", A[:16]).status == 0
    assert [act.verb for act in site.acts()] == ["withdraw"]


def test_digits_that_two_authorities_have_here_withdraw_none(site: Site, relay: RelayTwin, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(SITE.pem)
    assert site.ctl("authority", "add", tmp_path / "ca.pem").status == 0
    other = SITE.fingerprint[:16] + "0" * 48
    relay.authorities = [{"fingerprint": one, "standing": "approved"} for one in (SITE.fingerprint, other)]
    done = site.ctl("authority", "withdraw", SITE.fingerprint[:16])
    assert done.status == 3
    assert grouped(Fingerprint(other)) in done.err
    assert [act.verb for act in site.acts()] == ["authorize"]


def test_a_withdrawal_of_what_is_not_known_here_says_that_the_fleet_does_not_answer(
    site: Site, relay: RelayTwin
) -> None:
    shutil.rmtree(site.home.directory)
    done = site.ctl("authority", "withdraw", A[:16])
    assert done.status == 4
    assert str(site.home.directory) in done.err
