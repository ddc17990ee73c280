"""What status says of the connection to the fleet when eximcertd-fleet says nothing any more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from eximcertd.control.methods.fleet_reports import link_after

LINK = {"state": "in-step", "since": "2026-11-26T01:00:00Z", "problem": "", "heard": "2026-11-26T02:00:00Z"}


@pytest.mark.parametrize(("every", "silence"), [(15, 15), (15, 330), (1, 302), (86_400, 100_000)])
def test_what_was_reported_counts_as_long_as_the_next_report_may_still_come(every: int, silence: int) -> None:
    assert link_after(LINK, silence, timedelta(seconds=every)) == LINK


@pytest.mark.parametrize(("every", "silence"), [(15, 331), (1, 303), (86_400, 173_101)])
def test_an_eximcertd_fleet_that_is_silent_is_away_since_its_last_report(every: int, silence: int) -> None:
    assert link_after(LINK, silence, timedelta(seconds=every)) == {
        "state": "away",
        "since": "2026-11-26T02:00:00Z",
        "problem": "eximcertd-fleet has not reported since then",
        "heard": "2026-11-26T02:00:00Z",
    }


def test_before_the_first_report_there_is_nothing_to_say() -> None:
    assert link_after(None, 1e9, timedelta(seconds=15)) is None
