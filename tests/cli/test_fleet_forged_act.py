"""What eximcertctl decides where the fleet's newest act is one that relays do not take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.desk import RelayTwin, Site
from lab.fleet import next_act

from eximcertd.acts.signature import armored
from eximcertd.errors import Exit
from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.acts.act import Act

A, B, C = (Fingerprint(digit * 64) for digit in "ABC")
INSIST = "--without-certificate"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Make a fleet with two acts, of which the second is by alice and signed by bob."""
    site = Site(tmp_path)
    site.home.act("approve", A)
    forge(site, "reject", A)
    return site


@pytest.fixture
def relay(site: Site) -> Iterator[RelayTwin]:
    """Run a twin of the machine's eximcertd. It has the first act only."""
    with RelayTwin(site) as twin:
        twin.follows = False
        (first,) = site.home.desk().acts(0, 1)
        twin.taken = twin.taken.followed_by(first)
        yield twin


def forge(site: Site, verb: str, *names: Fingerprint) -> None:
    """Write the next act into the directory, with the signature of another person than it names."""
    act: Act = site.home.signed(next_act(site.home.desk().head(), verb, *names), "bob")
    site.home.file(act.generation, ".sig").write_bytes(armored(act.signature))
    site.home.file(act.generation).write_bytes(act.text())


def verbs(site: Site) -> list[str]:
    return [act.verb for act in site.home.desk().acts(0, 99)]


@pytest.mark.usefixtures("relay")
@pytest.mark.parametrize("name", [A, B])
def test_nothing_is_approved_after_it_and_it_is_told_what_to_do(site: Site, name: Fingerprint) -> None:
    done = site.ctl("approve", name, INSIST)
    assert done.status == Exit.REFUSED, done.out + done.err
    assert "no relay takes act 2: the signature of act 2 by alice is not valid" in done.err
    assert "A relay refuses an act" in done.err
    assert verbs(site) == ["approve", "reject"]


@pytest.mark.parametrize("forged", ["revoke", "reject"])
def test_a_client_that_it_says_is_refused_already_is_revoked_here_and_that_is_open(
    site: Site, relay: RelayTwin, forged: str
) -> None:
    site.home.file(2).unlink()
    forge(site, forged, A)
    relay.see(A, standing="approved")
    done = site.ctl("revoke", A)
    assert done.status == Exit.NOT_YET_LIVE
    assert relay.entries[A]["standing"] == "revoked"
    assert "THE FLEET DOES NOT KNOW IT" in done.err
    assert "no relay takes act 2" in done.err


def test_an_authority_is_withdrawn_here_alone_and_that_is_told(site: Site, relay: RelayTwin) -> None:
    relay.authorities = [{"fingerprint": C, "subject": "CN=Site CA", "standing": "approved", "names": []}]
    done = site.ctl("authority", "withdraw", C)
    assert done.status == Exit.NOT_YET_LIVE, done.out + done.err
    assert relay.authorities[0]["standing"] == "withdrawn"
    assert "no relay takes act 2" in done.err
    assert verbs(site) == ["approve", "reject"]


def test_nothing_is_approved_after_it_on_a_machine_that_is_no_relay(site: Site) -> None:
    done = site.ctl("approve", B, INSIST)
    assert done.status == Exit.REFUSED, done.out + done.err
    assert "no relay takes act 2" in done.err
    assert verbs(site) == ["approve", "reject"]


def test_an_act_that_this_relay_has_taken_is_built_on_though_its_key_was_removed_since(
    site: Site, relay: RelayTwin
) -> None:
    site.home.file(2).unlink()
    site.home.act("reject", B, by="bob")
    relay.follows = True
    keys = site.home.signers.read_text().splitlines(keepends=True)
    site.home.signers.write_text("".join(key for key in keys if key.startswith("alice ")))
    done = site.ctl("revoke", A)
    assert done.status == Exit.DONE, done.out + done.err
    assert verbs(site) == ["approve", "reject", "revoke"]


@pytest.mark.usefixtures("relay")
def test_once_it_is_removed_people_decide_again(site: Site) -> None:
    for end in ("", ".sig"):
        site.home.file(2, end).unlink()
    assert site.ctl("reject", B).status in {Exit.DONE, Exit.NOT_YET_LIVE}
    assert verbs(site) == ["approve", "reject"]
    assert site.home.desk().newest([B]).keys() == {B}
