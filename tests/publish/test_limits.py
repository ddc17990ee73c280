"""What a taken-over eximcertd can and cannot ask for."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from lab.publishing import Publisher

from eximcertd.fingerprint import NEVER

if TYPE_CHECKING:
    from lab.exim import EximServer

LARGE = [f"{index:064X}" for index in range(20)]


@pytest.fixture
def publisher(exim: EximServer) -> Publisher:
    """Name a publisher that has no Exim to signal: limits are checked before."""
    return Publisher(exim, {"exim": {"reload": "none"}})


@pytest.mark.parametrize(("before", "after"), [(1, 0), (3, 0), (4, 1), (20, 17), (20, 10), (5, 2), (10, 30)])
def test_a_change_within_the_limits_goes_through(publisher: Publisher, before: int, after: int) -> None:
    many = [f"{index:064X}" for index in range(30)]
    assert publisher.list(*many[:before]).outcome == "live"
    assert publisher.list(*many[:after]).outcome == "live"


@pytest.mark.parametrize(("before", "after"), [(4, 0), (20, 0), (20, 9), (9, 4)])
def test_a_large_shrink_needs_roots_word(publisher: Publisher, before: int, after: int) -> None:
    publisher.list(*LARGE[:before])
    stood = publisher.file.read_bytes()
    refused = publisher.list(*LARGE[:after])
    assert (refused.outcome, refused.step) == ("refused", "limits")
    assert f"{before - after} of {before} fingerprints would go" in refused.message
    assert publisher.file.read_bytes() == stood


def test_a_swap_of_everybody_for_others_is_a_shrink_too(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    assert publisher.list(*(f"{index:064X}" for index in range(100, 120))).outcome == "refused"


def test_roots_grant_counts_once(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    granted = publisher.raw(b"", "--grant-shrink")
    assert granted.returncode == 0
    assert publisher.list().outcome == "live"
    publisher.list(*LARGE)
    assert publisher.list().outcome == "refused"


def test_a_grant_that_is_not_needed_is_kept_for_the_shrink_that_needs_it(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    publisher.raw(b"", "--grant-shrink")
    assert publisher.list(*LARGE[:19]).outcome == "live"
    assert publisher.list().outcome == "live"


@pytest.mark.parametrize("age", [601, -5])
def test_a_grant_that_is_old_or_from_the_future_does_not_count(publisher: Publisher, age: int) -> None:
    publisher.list(*LARGE)
    publisher.raw(b"", "--grant-shrink")
    os.utime(publisher.beside("grant"), (time.time() - age,) * 2)
    assert publisher.list().outcome == "refused"


def test_a_grant_that_somebody_else_could_have_made_stops_the_publication(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    publisher.beside("grant").touch()
    publisher.beside("grant").chmod(0o666)
    refused = publisher.list()
    assert refused.outcome == "refused"
    assert "grant could have been written by others" in refused.message


def test_roots_own_call_may_throw_everybody_out(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    answer = publisher.raw(b"eximcertd-publish 1\nform list\ncount 0\nend\n", "--allow-shrink")
    assert answer.returncode == 0
    assert publisher.file.read_text().endswith("RELAY_FROM_CERTS =\n")


def test_a_change_of_form_that_would_lock_clients_out_is_a_shrink(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    publisher.allow(*LARGE[:5])
    assert publisher.switch_to_directory().outcome == "refused"
    publisher.allow(*LARGE)
    assert publisher.switch_to_directory().outcome == "live"
    assert publisher.list(*LARGE[:2]).outcome == "refused"
    assert publisher.list(*LARGE[:18]).outcome == "live"


def test_names_that_exim_does_not_honour_hide_no_shrink(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    publisher.allow()
    for name in LARGE[:10]:
        (publisher.allowed / name).mkdir()
    for name in LARGE[10:]:
        (publisher.allowed / name).symlink_to("/etc/passwd")
    refused = publisher.switch_to_directory()
    assert (refused.outcome, refused.step) == ("refused", "limits")
    assert "20 of 20 fingerprints would go" in refused.message


@pytest.mark.parametrize("form", ["list", "directory", "auto"])
def test_the_form_is_the_one_that_root_has_set(publisher: Publisher, form: str) -> None:
    publisher.configure({"allowlist": {"form": form}})
    publisher.allow(*LARGE)
    for asked, answer in (("list", publisher.list(*LARGE)), ("directory", publisher.switch_to_directory())):
        if form in ("auto", asked):
            assert answer.outcome == "live"
        else:
            assert (answer.outcome, answer.step) == ("refused", "limits")
            assert f'form = "{form}"' in answer.message


def test_a_list_longer_than_root_allows_is_refused(publisher: Publisher) -> None:
    publisher.configure({"publish": {"max_fingerprints": 19}})
    refused = publisher.list(*LARGE)
    assert (refused.outcome, refused.step) == ("refused", "limits")
    assert "max_fingerprints" in refused.message


def test_reloads_keep_the_least_interval(publisher: Publisher) -> None:
    publisher.configure({"publish": {"min_interval": "1h"}})
    assert publisher.list(*LARGE[:1]).outcome == "live"
    refused = publisher.list(*LARGE[:2])
    assert (refused.outcome, refused.step) == ("refused", "wait")
    assert refused.retry_after is not None
    assert 3500 < refused.retry_after <= 3600


def test_a_short_interval_is_waited_out(publisher: Publisher) -> None:
    publisher.configure({"publish": {"min_interval": "1s"}})
    first, second = publisher.list(*LARGE[:1]), publisher.list(*LARGE[:2])
    assert (first.outcome, second.outcome) == ("live", "live")
    assert first.loaded_at is not None
    assert second.loaded_at is not None
    assert second.loaded_at - first.loaded_at >= 1


@pytest.mark.parametrize("never", sorted(NEVER))
def test_a_hash_of_no_certificate_is_refused(publisher: Publisher, never: str) -> None:
    refused = publisher.list(never)
    assert (refused.outcome, refused.step) == ("refused", "request")
    assert "may never be approved" in refused.message


def test_a_request_that_never_ends_is_cut_off(publisher: Publisher) -> None:
    with subprocess.Popen(publisher.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"eximcertd-publish 1\nform list\n")
        process.stdin.flush()
        said = process.stdout.read()
    assert b"was not complete within" in said
    assert process.returncode == 1


def test_a_request_that_is_too_large_is_cut_off(publisher: Publisher) -> None:
    said = publisher.raw(b"A" * 70_000_000)
    assert b"larger than" in said.stdout


def test_garbage_is_refused_and_nothing_is_touched(publisher: Publisher) -> None:
    before = sorted(path.name for path in publisher.file.parent.iterdir())
    for raw in (
        b"",
        b"\0" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"eximcertd-publish 1\nform list\ncount 1\n" + b"a" * 64 + b"\nend\n",
    ):
        said = publisher.raw(raw)
        assert (said.returncode, b'"outcome":"refused"' in said.stdout) == (1, True)
    assert sorted(path.name for path in publisher.file.parent.iterdir()) == before
