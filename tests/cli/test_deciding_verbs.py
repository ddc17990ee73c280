"""approve, reject and revoke as they are typed: what they send, what they say, how they end."""

from __future__ import annotations

import socket
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from lab.ctl import ctl
from lab.entries import ALICE, BOB, certificate
from lab.terminal import on_a_terminal
from lab.twins import LIVE, Twin

from eximcertd.fingerprint import NEVER, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAILED = {
    "live": False,
    "outcome": "failed",
    "step": "judge",
    "message": "the whole configuration does not pass",
    "exim": "Exim configuration error in line 7\n  what is this",
    "retry": "It is tried again at 17:05.",
    "loaded_at": None,
}


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    """Run a twin that has seen Alice's and Bob's certificates."""
    with Twin(tmp_path / "control") as twin:
        twin.see(ALICE, certificate("CN=alice"))
        twin.see(BOB, certificate("CN=bob"))
        yield twin


def spellings(fingerprint: str) -> list[str]:
    """Return the ways in which people and programs write a fingerprint."""
    pairs = [fingerprint[i : i + 2] for i in range(0, 64, 2)]
    return [
        fingerprint[:8],
        fingerprint.lower(),
        ":".join(pairs),
        ":".join(pairs).lower(),
        grouped(fingerprint),
        " ".join(pairs),
        f"  {fingerprint[:12]} ",
    ]


@pytest.mark.parametrize("spelling", range(7))
def test_a_fingerprint_is_taken_in_every_spelling_and_echoed_whole(
    twin: Twin, at: tuple[str, str], spelling: int
) -> None:
    done = ctl(*at, "approve", spellings(ALICE)[spelling])
    assert done.status == 0
    assert done.out.splitlines()[0] == f"approved {grouped(ALICE)}"
    assert "CN=alice" in done.out
    assert "Exim honours it (list form, revision 7)." in done.out
    assert twin.entries[ALICE]["standing"] == "approved"


def test_several_are_one_decision_with_one_request_id(twin: Twin, at: tuple[str, str]) -> None:
    done = ctl(*at, "approve", ALICE[:8], BOB[:8], ALICE.lower(), "--note", "both of them")
    assert done.status == 0
    [sent] = twin.called("Decide")
    assert sent["fingerprints"] == [ALICE[:8], BOB[:8], ALICE]
    assert sent["note"] == "both of them"
    assert uuid.UUID(sent["request"]).version == 4
    assert grouped(ALICE) in done.out
    assert grouped(BOB) in done.out


def test_fingerprints_come_from_standard_input_too(twin: Twin, at: tuple[str, str]) -> None:
    openssl = "sha256 Fingerprint=" + ":".join(BOB[i : i + 2] for i in range(0, 64, 2))
    given = f"# from the other machine\n\n{grouped(ALICE)}\n{openssl}\n"
    assert ctl(*at, "reject", "-", given=given).status == 0
    assert twin.called("Decide")[0]["fingerprints"] == [ALICE, BOB]
    assert ctl(*at, "reject", "-", given="").status == 2
    assert ctl(*at, "reject", "-", given="nonsense\n").status == 2
    assert ctl(*at, "reject", "-", given=b"\xff\xfe\n").status == 2
    assert ctl(*at, "reject", "-", given="A" * 10_000).status == 2


def test_a_name_is_shown_with_its_whole_fingerprint_and_decides_nothing_in_a_pipe(
    twin: Twin, at: tuple[str, str]
) -> None:
    for verb in ("approve", "reject", "revoke"):
        done = ctl(*at, verb, "bob")
        assert done.status == 2
        assert grouped(BOB) in done.err
        assert "give --yes, or digits of the fingerprint instead of a name" in done.err
    assert not twin.called("Decide")


def test_with_yes_a_name_is_decided_by_its_whole_fingerprint(twin: Twin, at: tuple[str, str]) -> None:
    done = ctl(*at, "approve", "bob", ALICE[:8], "--yes")
    assert done.status == 0
    assert twin.called("Find") == [{"name": "bob", "verb": "approve"}]
    assert twin.called("Decide")[0]["fingerprints"] == [ALICE[:8], BOB]
    assert f"approved {grouped(BOB)}" in done.out


def test_a_name_that_no_certificate_has_is_3(at: tuple[str, str]) -> None:
    assert ctl(*at, "approve", "carol.example", "--yes").status == 3


def test_on_a_terminal_a_name_is_asked_back(twin: Twin) -> None:
    for answer, decided in (("n\n", 0), ("y\n", 1)):
        shown = on_a_terminal(twin, "approve", "bob", answers=[("[y/N]: ", answer)])
        assert grouped(BOB) in shown
        assert "approve it? [y/N]" in shown
        assert len(twin.called("Decide")) == decided
    assert ctl("--socket", twin.path, "revoke", BOB[:8]).status == 0  # digits are not asked back


def test_too_many_at_once_are_sent_to_import(at: tuple[str, str]) -> None:
    done = ctl(*at, "approve", "-", given="".join(f"{number:064X}\n" for number in range(10_001)))
    assert done.status == 2
    assert "eximcertctl import" in done.err


def test_a_thousand_are_one_call(twin: Twin, at: tuple[str, str]) -> None:
    for number in range(1000):
        twin.see(f"{number:064X}", certificate(f"CN={number}"))
    done = ctl(*at, "approve", "-", given="".join(f"{number:064X}\n" for number in range(1000)))
    assert done.status == 0
    assert len(twin.called("Decide")) == 1
    assert done.out.count("approved ") == 1000


def test_a_refusal_by_a_rule_is_7_and_names_the_way_to_insist(twin: Twin, at: tuple[str, str]) -> None:
    unknown = "C0FFEE" + "2" * 58
    done = ctl(*at, "approve", unknown)
    assert done.status == 7
    assert "--without-certificate" in done.err
    assert ctl(*at, "approve", unknown, "--without-certificate", "--expired", "--ca").status == 0
    assert twin.called("Decide")[-1]["insist"] == ["without-certificate", "expired", "ca"]


def test_a_standing_that_does_not_allow_it_is_7(at: tuple[str, str]) -> None:
    done = ctl(*at, "revoke", ALICE)
    assert done.status == 7
    assert "nothing to revoke" in done.err


@pytest.mark.parametrize("never", sorted(NEVER))
def test_the_hashes_of_no_certificate_are_refused_before_anybody_is_asked(
    twin: Twin, at: tuple[str, str], never: str
) -> None:
    done = ctl(*at, "approve", never.lower(), "--without-certificate")
    assert done.status == 7
    assert "can never be approved" in done.err
    assert twin.called("Decide") == []


def test_an_unknown_one_among_several_decides_nothing(twin: Twin, at: tuple[str, str]) -> None:
    done = ctl(*at, "approve", ALICE, "DEADBEEF")
    assert done.status == 3
    assert twin.entries[ALICE]["standing"] == "pending"


def test_decided_and_not_live_is_6_with_the_reason_exims_words_and_what_comes_next(
    twin: Twin, at: tuple[str, str]
) -> None:
    twin.publication |= FAILED
    done = ctl(*at, "approve", ALICE)
    assert done.status == 6
    assert done.out.startswith(f"approved {grouped(ALICE)}")
    assert "NOT YET LIVE" in done.err
    assert "judge: the whole configuration does not pass" in done.err
    assert "Exim configuration error in line 7" in done.err
    assert "tried again at 17:05" in done.err
    assert ctl(*at, "reject", "--json", BOB).json["publication"]["live"] is False


def test_exim_that_died_is_said_first(twin: Twin, at: tuple[str, str]) -> None:
    twin.publication |= {**FAILED, "outcome": "died", "message": "EXIM IS DOWN: it ended at the reload"}
    done = ctl(*at, "approve", ALICE)
    assert done.status == 6
    assert done.err.startswith("EXIM IS DOWN: it ended at the reload")


@pytest.mark.parametrize(
    ("publication", "words"),
    [
        ({"outcome": "not-running"}, "Exim is not running. The list takes effect when it starts."),
        ({"form": "directory"}, "in open sessions too"),
        ({"form": "list", "revision": 9}, "revision 9"),
    ],
)
def test_live_is_said_as_what_it_means(
    twin: Twin, at: tuple[str, str], publication: dict[str, Any], words: str
) -> None:
    twin.publication |= publication
    assert words in ctl(*at, "approve", ALICE).out


def test_json_has_the_entries_and_the_publication(at: tuple[str, str]) -> None:
    answer = ctl(*at, "approve", ALICE, "--json").json
    assert [entry["fingerprint"] for entry in answer["decided"]] == [ALICE]
    assert answer["publication"] == LIVE


def test_deciding_again_changes_nothing_and_is_no_fault(at: tuple[str, str]) -> None:
    assert [ctl(*at, "approve", ALICE).status for _ in range(2)] == [0, 0]
    assert [ctl(*at, "revoke", ALICE).status for _ in range(2)] == [0, 0]


def test_an_answer_that_is_lost_is_an_unknown_outcome_and_not_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)

        thread = threading.Thread(target=hang_up)
        thread.start()
        done = ctl("--socket", path, "approve", ALICE)
        thread.join()
    assert done.status == 4
    assert "outcome unknown" in done.err
    assert f"eximcertctl show {ALICE}" in done.err


def test_a_decision_that_was_never_sent_is_no_unknown_outcome(tmp_path: Path) -> None:
    done = ctl("--socket", tmp_path / "nothing", "approve", ALICE)
    assert done.status == 4
    assert "outcome unknown" not in done.err


def test_replace_is_asked_for_with_its_day(twin: Twin, at: tuple[str, str]) -> None:
    day = datetime.now().astimezone() + timedelta(days=30)
    assert ctl(*at, "approve", ALICE, "--replace", "--at", f"{day:%Y-%m-%d}").status == 0
    sent = twin.called("Decide")[-1]
    assert sent["replace"] is True
    midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
    assert datetime.fromisoformat(sent["replace_at"]).astimezone(UTC) == midnight.astimezone(UTC)
    assert ctl(*at, "approve", BOB, "--replace").status == 0
    assert twin.called("Decide")[-1]["replace_at"] is None


@pytest.mark.parametrize(
    "options", [["--at", "2099-01-01"], ["--replace", "--at", "soon"], ["--replace", "--at", "2001-01-01"]]
)
def test_a_replacement_that_makes_no_sense_is_2(twin: Twin, at: tuple[str, str], options: list[str]) -> None:
    assert ctl(*at, "approve", ALICE, *options).status == 2
    assert twin.called("Decide") == []
