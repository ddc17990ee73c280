"""What a taken-over eximcertd can and cannot ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from lab.publishing import Publisher

from eximcertd.fingerprint import NEVER

if TYPE_CHECKING:
    from lab.exim import EximServer

LARGE = [f"{index:064X}" for index in range(20)]


@pytest.fixture
def publisher(exim: EximServer) -> Publisher:
    return Publisher(exim)


@pytest.mark.parametrize(("before", "after"), [(1, 0), (3, 0), (4, 1), (20, 17), (20, 10), (5, 2), (10, 30)])
def test_a_change_within_the_limits_goes_through(publisher: Publisher, before: int, after: int) -> None:
    many = [f"{index:064X}" for index in range(30)]
    assert publisher.list(*many[:before]).outcome == "done"
    assert publisher.list(*many[:after]).outcome == "done"


@pytest.mark.parametrize(("before", "after"), [(4, 0), (20, 0), (20, 9), (9, 4)])
def test_a_large_shrink_is_refused(publisher: Publisher, before: int, after: int) -> None:
    publisher.list(*LARGE[:before])
    stood = publisher.file.read_bytes()
    refused = publisher.list(*LARGE[:after])
    assert (refused.outcome, refused.step) == ("refused", "limits")
    assert f"{before - after} of {before} fingerprints would go" in refused.message
    assert "--allow-shrink" in refused.message
    assert publisher.file.read_bytes() == stood


def test_a_swap_of_everybody_for_others_is_a_shrink_too(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    assert publisher.list(*(f"{index:064X}" for index in range(100, 120))).outcome == "refused"


def test_roots_own_call_may_remove_every_fingerprint(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    answer = publisher.raw(b"eximcertd-publish 2\nwrite list\ncount 0\nend\n", "--allow-shrink")
    assert answer.returncode == 0
    assert b'"outcome":"done"' in answer.stdout
    assert publisher.file.read_text().endswith("RELAY_FROM_CERTS =\n")


def test_a_change_of_form_that_would_lock_clients_out_is_a_shrink(publisher: Publisher) -> None:
    publisher.list(*LARGE)
    publisher.allow(*LARGE[:5])
    assert publisher.switch_to_directory().outcome == "refused"
    publisher.allow(*LARGE)
    assert publisher.switch_to_directory().outcome == "done"
    assert publisher.list(*LARGE[:2]).outcome == "refused"
    assert publisher.list(*LARGE[:18]).outcome == "done"


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
            assert answer.outcome == "done"
        else:
            assert (answer.outcome, answer.step) == ("refused", "limits")
            assert f'form is "{form}"' in answer.message


def test_a_list_longer_than_root_allows_is_refused(publisher: Publisher) -> None:
    publisher.configure({"publish": {"max_fingerprints": 19}})
    refused = publisher.list(*LARGE)
    assert (refused.outcome, refused.step) == ("refused", "request")
    assert "max_fingerprints" in refused.message


def test_writes_keep_the_least_interval_and_the_answer_says_how_long_to_wait(publisher: Publisher) -> None:
    publisher.configure({"publish": {"min_interval": "1h"}})
    os.utime(publisher.file)  # it changes now
    refused = publisher.list(*LARGE[:2])
    assert (refused.outcome, refused.step) == ("refused", "write")
    assert refused.retry_after is not None
    assert 3500 < refused.retry_after <= 3600
    publisher.configure({"publish": {"min_interval": "0s"}})
    assert publisher.list(*LARGE[:2]).outcome == "done"


def test_what_stands_already_is_within_every_interval(publisher: Publisher) -> None:
    assert publisher.list(*LARGE[:1]).changed
    publisher.configure({"publish": {"min_interval": "1h"}})
    again = publisher.list(*LARGE[:1])
    assert (again.outcome, again.changed) == ("done", False)


@pytest.mark.parametrize("never", sorted(NEVER))
def test_a_hash_of_no_certificate_is_refused(publisher: Publisher, never: str) -> None:
    refused = publisher.list(never)
    assert (refused.outcome, refused.step) == ("refused", "request")
    assert "can never be approved" in refused.message


def test_garbage_is_refused_and_nothing_is_touched(publisher: Publisher) -> None:
    before = sorted(path.name for path in publisher.file.parent.iterdir())
    for raw in (
        b"",
        b"\0" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"eximcertd-publish 2\nwrite list\ncount 1\n" + b"a" * 64 + b"\nend\n",
    ):
        said = publisher.raw(raw)
        assert (said.returncode, b'"outcome":"refused"' in said.stdout) == (0, True)
    assert sorted(path.name for path in publisher.file.parent.iterdir()) == before
