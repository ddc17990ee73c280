"""eximcertctl fleet pending: the one queue over all relays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from lab.authorities import Signer
from lab.snapshots import BEGIN, NAMES, check

from eximcertd.cli.fleet.pending import waiting
from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.fleet.remote import Sighted
from eximcertd.text import columns

if TYPE_CHECKING:
    from lab.certificates import Identity
    from lab.desk import Site

A, B = (Fingerprint(letter * 64) for letter in "AB")
pytestmark = pytest.mark.usefixtures("utc")


def test_the_queue_is_one_over_all_relays_with_the_attempts_at_each(site: Site, alice: Identity) -> None:
    name = of_der(alice.der)
    site.sees("mx1", name, alice.der, attempts=3)
    site.sees("mx2", name, None, attempts=4)
    site.sees("mx2", B)
    done = site.ctl("fleet", "pending")
    row = done.out.splitlines()[1]
    assert row.startswith(f"{name[:16]}  laptop.alice.exam")
    assert "mx1 3, mx2 4" in row
    assert "1 fingerprint without a certificate: --all shows them." in done.out
    one, other = site.ctl("fleet", "pending", "--json").json
    assert {one["fingerprint"], other["fingerprint"]} == {name, B}
    entry = one if one["fingerprint"] == name else other
    assert entry["attempts"] == 7
    assert [(seen["relay"], seen["attempts"]) for seen in entry["relays"]] == [("mx1", 3), ("mx2", 4)]
    assert entry["certificate"]["subject"] == "CN=laptop.alice.example"
    assert "at mx1 3, mx2 4" in site.ctl("fleet", "pending", "--long").out


def test_a_certificate_is_what_its_der_says_and_never_a_relays_word(alice: Identity) -> None:
    name = of_der(alice.der)
    seen = [Sighted("mx2", A, 1, 0, 0, der=alice.der), Sighted("mx3", name, 1, 0, 0, der=alice.der)]
    claimed, real = sorted(waiting(seen), key=lambda one: one["fingerprint"] == name)
    assert claimed["certificate"] is None
    assert real["certificate"]["subject"] == "CN=laptop.alice.example"


def test_what_is_decided_does_not_wait_whatever_a_relay_reports(site: Site, alice: Identity) -> None:
    name = of_der(alice.der)
    site.sees("mx2", name, alice.der)
    site.home.act("reject", name)
    assert site.ctl("fleet", "pending").out == "No client is waiting.\n"


@pytest.mark.parametrize("width", [80, 120])
def test_the_queue_fits_the_terminal(site: Site, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for number, subject in enumerate(NAMES):
        der = Signer(subject[:60]).der
        at = (int(BEGIN.timestamp()) - 60 * number) * 1000
        for relay in [f"mx{one}.a-long-name.example.org" for one in range(3)][: number % 3 + 1]:
            site.sees(relay, of_der(der), der, attempts=10_000 * number + 1, at=at)
    done = site.ctl("fleet", "pending")
    assert all(columns(line) <= width for line in done.out.splitlines()[:8])
    assert all(line.endswith("?") for line in done.out.splitlines()[1:8])
    # The digits of made certificates are others each time.
    check(f"fleet-pending-{width}", re.sub(r"^[0-9A-F]{16}", "0" * 16, done.out, flags=re.MULTILINE))
