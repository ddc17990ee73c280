"""review, undo and settle: nothing is decided that a person has not seen and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.ctl import ctl
from lab.entries import ALICE, BOB, certificate
from lab.terminal import on_a_terminal
from lab.twins import Twin

from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "q quit: "


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    """Run a twin that has seen Alice's and Bob's certificates, Alice's last."""
    with Twin(tmp_path / "control") as twin:
        twin.see(BOB, certificate("CN=bob"), last_seen="2026-11-20T00:00:00Z")
        twin.see(ALICE, certificate("CN=alice"))
        yield twin


def decided(twin: Twin) -> list[tuple[str, list[str], str]]:
    return [(call["verb"], call["fingerprints"], call["note"]) for call in twin.called("Decide")]


def test_review_shows_each_and_decides_by_a_key(twin: Twin) -> None:
    shown = on_a_terminal(twin, "review", answers=[(KEY, "n"), ("Note: ", "by phone\n"), (KEY, "a"), (KEY, "r")])
    assert shown.index(grouped(ALICE)) < shown.index("approved") < shown.index(grouped(BOB))
    assert decided(twin) == [("approve", [ALICE], "by phone"), ("reject", [BOB], "")]
    assert "That was the last one." in shown
    assert "\x1b[" not in shown.replace("\x1b[1m", "").replace("\x1b[0m", ""), "the text goes on downwards"


@pytest.mark.parametrize("keys", ["q", "lq", "xyzq", "ll"])
def test_without_a_key_for_a_decision_nothing_is_sent(twin: Twin, keys: str) -> None:
    on_a_terminal(twin, "review", answers=[(KEY, key) for key in keys])
    assert decided(twin) == []


def test_what_only_the_client_has_shown_is_approved_by_its_owners_digits(twin: Twin) -> None:
    twin.entries.pop(BOB)
    twin.see(ALICE, certificate("CN=alice", source="attempt"))
    on_a_terminal(twin, "review", answers=[(KEY, "a"), ("tells them: ", "B0B1111111111111\n"), (KEY, "q")])
    assert decided(twin) == []
    on_a_terminal(twin, "review", answers=[(KEY, "a"), ("tells them: ", f"{ALICE[:16].lower()}\n")])
    assert decided(twin) == [("approve", [ALICE], "")]


def test_review_does_not_call_the_hundredth_the_last_one_if_more_wait(twin: Twin) -> None:
    for number in range(99):
        twin.see(f"{number:064X}", certificate("CN=laptop"))
    shown = on_a_terminal(twin, "review", answers=[(KEY, "l")] * 100)
    assert "100 of 100" in shown
    assert shown.endswith("These were the newest 100: review again for more.\n")


def test_review_needs_a_terminal(twin: Twin) -> None:
    assert ctl("--socket", twin.path, "review").status == 2
    assert len(ctl("--socket", twin.path, "review", "--json").json) == 2


@pytest.mark.parametrize(("verb", "reverse"), [("approve", "revoke"), ("revoke", "approve")])
def test_undo_shows_the_last_decision_and_takes_it_back(twin: Twin, verb: str, reverse: str) -> None:
    at = ("--socket", twin.path)
    ctl(*at, "approve", ALICE)
    if verb == "revoke":
        ctl(*at, "revoke", ALICE)
    before = len(twin.called("Decide"))
    done = ctl(*at, "undo")
    assert done.status == 2
    assert grouped(ALICE) in done.err
    assert len(twin.called("Decide")) == before
    done = ctl(*at, "undo", "--yes")
    assert done.status == 0
    assert decided(twin)[-1][:2] == (reverse, [ALICE])


def test_undo_takes_back_no_rejection_and_nothing_that_was_decided_again(twin: Twin) -> None:
    at = ("--socket", twin.path)
    assert ctl(*at, "undo", "--yes").status == 1
    ctl(*at, "reject", ALICE)
    done = ctl(*at, "undo", "--yes")
    assert done.status == 7
    assert f"eximcertctl approve {ALICE[:16]}" in done.err
    ctl(*at, "approve", ALICE)
    twin.current = False
    assert ctl(*at, "undo", "--yes").status == 7


def test_settle_says_what_each_answer_does_and_decides_nothing_in_a_pipe(twin: Twin) -> None:
    at = ("--socket", twin.path)
    assert ctl(*at, "settle").out == "Nothing was removed or added by hand.\n"
    twin.edits = {"removed": [twin.entries[ALICE]], "added": [twin.entries[BOB]]}
    done = ctl(*at, "settle")
    for text in (
        "1 fingerprint removed by hand:",
        "they are put back",
        "1 fingerprint added by hand:",
        "adopted by hand",
    ):
        assert text in done.out
    assert decided(twin) == []


def test_settle_decides_each_set_at_once(twin: Twin) -> None:
    twin.edits = {"removed": [], "added": [twin.entries[ALICE], twin.entries[BOB]]}
    assert ctl("--socket", twin.path, "settle", "--added", "approve", "--note", "mine").status == 0
    assert decided(twin) == [("approve", [ALICE, BOB], "mine")]


def test_settle_says_how_many_there_are_beyond_those_that_it_shows_and_decides_on(twin: Twin) -> None:
    for number in range(150):
        twin.see(f"{number:064X}", standing="approved")
    twin.edits["added"] = [twin.entries[f"{number:064X}"] for number in range(150)]
    twin.edits_beyond = 20_000
    out = ctl("--socket", twin.path, "settle").out
    assert "20,150 fingerprints added by hand:" in out
    assert "and 50 more: settle --json prints them." in out
    assert "The answer concerns 150 of them: afterwards settle again." in out
    assert ctl("--socket", twin.path, "settle", "--json").json["added_total"] == 20_150


def test_settle_asks_on_a_terminal(twin: Twin) -> None:
    twin.edits = {"removed": [twin.entries[ALICE]], "added": []}
    on_a_terminal(twin, "settle", answers=[("[later]: ", "approve\n")])
    assert decided(twin) == [("approve", [ALICE], "")]
