"""show and history: all that is known of one certificate, and every decision about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.ctl import ctl
from lab.entries import ALICE, PEER, certificate

from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    from lab.twins import Twin


def test_show_tells_all_of_one(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop", names=["laptop.example"], ca=True), **{"from": PEER})
    ctl(*at, "approve", ALICE, "--note", "night shift", "--ca")
    done = ctl(*at, "show", "a1:1c:e0:00")
    for text in (grouped(ALICE), "CN=laptop", "laptop.example", "CA:TRUE", "laptop.pem", "night shift", "approved by"):
        assert text in done.out
    entry = ctl(*at, "show", ALICE, "--json").json
    assert entry["history"][0]["note"] == "night shift"


def test_history_tells_who_decided_what(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop"))
    ctl(*at, "approve", ALICE)
    ctl(*at, "revoke", ALICE, "--note", "stolen")
    done = ctl(*at, "history", ALICE[:10])
    assert done.out.index("stolen") < done.out.index("approved by"), "newest first"
    assert [decision["verb"] for decision in ctl(*at, "history", "-n", "1", "--json").json] == ["revoke"]


def test_show_prints_the_notes_and_pending_does_not(at: tuple[str, str], twin: Twin) -> None:
    twin.see(ALICE, certificate("CN=alice"), notes=["CA:TRUE: \x1b other programs"])
    assert "  - CA:TRUE: \\x1b other programs" in ctl(*at, "show", ALICE).out
    assert "CA:TRUE" not in ctl(*at, "pending").out


def test_show_has_the_newest_decision_first(at: tuple[str, str], twin: Twin) -> None:
    twin.see(ALICE, certificate("CN=alice"))
    ctl(*at, "approve", ALICE, "--note", "the first")
    ctl(*at, "revoke", ALICE, "--note", "the second")
    lines = ctl(*at, "show", ALICE).out.partition("Decisions, newest first:")[2].splitlines()
    assert [line.rpartition(" ")[2] for line in lines if line] == ["second", "first"]


@pytest.mark.parametrize(
    ("verb", "by", "sentence"),
    [("adopt", "by hand", "adopted by hand"), ("revoke", "by policy", "revoked by policy")],
)
def test_a_decision_by_no_person_is_told_in_english(
    twin: Twin, at: tuple[str, str], verb: str, by: str, sentence: str
) -> None:
    twin.see(ALICE, certificate("CN=alice"), standing="approved")
    twin.records.append({"fingerprint": ALICE, "verb": verb, "by": by, "at": "2026-11-22T17:03:03Z", "note": ""})
    assert sentence in ctl(*at, "history").out
