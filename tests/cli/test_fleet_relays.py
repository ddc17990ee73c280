"""eximcertctl fleet: the table of the relays."""

from __future__ import annotations

import re

import pytest
from lab.desk import Site, own_decision
from lab.snapshots import check

from eximcertd.fingerprint import Fingerprint
from eximcertd.text import columns

A, B = (Fingerprint(letter * 64) for letter in "AB")
NASTY = "\x1b[2Jevil\u202e"
pytestmark = pytest.mark.usefixtures("utc")


@pytest.mark.parametrize("width", [80, 120])
def test_the_relays_are_a_table_as_wide_as_the_terminal_with_what_is_wrong_below(
    site: Site, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    site.home.act("approve", A)
    site.home.act("approve", B)
    site.reports("mx1", live=2)
    site.reports("mx2.a-long-name.example.org", live=1, own=12, skew=45_500)
    site.reports(
        "mx3", live=0, skew=12 * 3_600_000, problem="act 1 is held back: it would remove 40 of 80 certificates"
    )
    done = site.ctl("fleet")
    assert done.status == 0
    assert all(columns(line) <= width for line in done.out.splitlines())
    # A busy machine takes time between the relay's clock and the file's time.
    text = re.sub(r"\+(3\d|4\d)s", "+45s", re.sub(r"(3\d|4\d) s ahead", "45 s ahead", done.out))
    check(f"fleet-{width}", re.sub(r"4\d,\d\d\d s ahead", "43,200 s ahead", text))


def test_json_has_a_relay_with_all_that_the_fleet_knows_of_it(site: Site) -> None:
    site.home.act("approve", A)
    site.reports("mx2", own=3, skew=90_000, problem="the publication failed")
    found = site.ctl("fleet", "--json").json
    assert found["generation"] == 1
    [relay] = found["relays"]
    assert 88_000 < relay.pop("skew_ms") <= 90_000
    assert relay.pop("seen_at").endswith("Z")
    assert relay == {
        "relay": "mx2",
        "version": "0.1.0",
        "received": 0,
        "live": 0,
        "lag": 1,
        "clock": "wrong",
        "own": 3,
        "dropped": 0,
        "problem": "the publication failed",
    }


@pytest.mark.parametrize(("skew", "clock"), [(4_000, "right"), (6_000, "odd"), (59_000, "odd"), (62_000, "wrong")])
def test_a_clock_is_odd_above_five_seconds_and_wrong_above_a_minute(site: Site, skew: int, clock: str) -> None:
    site.reports("mx2", skew=skew)
    assert site.ctl("fleet", "--json").json["relays"][0]["clock"] == clock


def test_nothing_that_a_relay_says_reaches_the_terminal_raw(site: Site) -> None:
    site.tells("mx2", own_decision("mx2", A, "revoke", by=NASTY, note=NASTY))
    site.reports("mx2", problem=NASTY)
    for verb in ([], ["pending", "--all"], ["settle"]):
        for flags in ([], ["--json"]):
            done = site.ctl("fleet", *verb, *flags)
            assert done.status == 0
            assert not set(done.out + done.err) & set("\x1b\u202e")
