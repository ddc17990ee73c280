"""Sightings: folded by fingerprint, with the peer that the log names later, perhaps in another read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from lab.log import FIRST, Log, Looking, fingerprint

from eximcertd.log.line import DEFAULT_MESSAGE, Grammar
from eximcertd.log.search import Buffer
from eximcertd.log.tally import PEER_WITHIN, Tally

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)


def rejection(who: str, second: int, pid: int | None = None) -> bytes:
    process = f"[{pid}] " if pid else ""
    return f"2026-11-22 17:03:{second:02} +0000 {process}{DEFAULT_MESSAGE} {who}\n".encode()


def peer(pid: int, sender: str, second: int = 3) -> bytes:
    return (
        f"2026-11-22 17:03:{second:02} +0000 [{pid}] H=(c) [192.0.2.1] X=TLS1.3:GCM:256 CV=yes F=<{sender}>"
        " rejected RCPT <r@example>: relay not permitted\n"
    ).encode()


def tallied(*texts: bytes) -> Tally:
    grammar = Grammar()
    tally, buffer = Tally(grammar), Buffer(grammar.literal, 1 << 20)
    for text in texts:
        buffer.view[: len(text)] = text
        tally.read(buffer, 0, len(text), NOW)
    return tally


def test_attempts_of_one_fingerprint_are_one_sighting_with_the_first_and_the_last_time() -> None:
    tally = tallied(rejection(FIRST, 5) + rejection(fingerprint(2), 6) + rejection(FIRST, 4) + rejection(FIRST, 9))
    one, two = tally.take()
    start = datetime(2026, 11, 22, 17, 3, tzinfo=UTC)
    assert (one.fingerprint, one.attempts, one.first, one.last) == (
        FIRST, 3, start + timedelta(seconds=4), start + timedelta(seconds=9),
    )  # fmt: skip
    assert (two.fingerprint, two.attempts, two.peer) == (fingerprint(2), 1, None)
    assert tally.take() == ()


def test_the_peer_is_that_of_the_same_process_and_the_latest_attempt() -> None:
    (one,) = tallied(
        rejection(FIRST, 1, 11) + peer(12, "other") + peer(11, "early") + rejection(FIRST, 2, 13) + peer(13, "late")
    ).take()
    assert one.peer is not None
    assert one.peer.sender == "late"


def test_a_peer_that_comes_in_a_later_read_makes_a_sighting_without_attempts() -> None:
    tally = tallied(rejection(FIRST, 1, 11))
    assert [sighting.attempts for sighting in tally.take()] == [1]
    buffer = Buffer(Grammar().literal, 1 << 20)
    for text in (b"2026-11-22 17:03:02 [11] something else\n", peer(12, "other"), peer(11, "sender")):
        buffer.view[: len(text)] = text
        tally.read(buffer, 0, len(text), NOW)
    (late,) = tally.take()
    assert (late.attempts, late.first, late.last) == (0, None, None)
    assert late.peer is not None
    assert late.peer.sender == "sender"


@pytest.mark.parametrize("between", [PEER_WITHIN - 5000, PEER_WITHIN + 5000])
@pytest.mark.parametrize("reads", [1, 3])
def test_a_peer_is_waited_for_a_bounded_while(between: int, reads: int) -> None:
    noise = b"2026-11-22 17:03:02 [7] no host name found for IP address 192.0.2.1\n"
    whole = rejection(FIRST, 1, 11) + noise * (between // len(noise)) + peer(11, "sender")
    lines = whole.splitlines(keepends=True)
    portions = [
        b"".join(lines[start::1][: len(lines) // reads + 1]) for start in range(0, len(lines), len(lines) // reads + 1)
    ]
    assert b"".join(portions) == whole
    (one,) = tallied(*portions).take()
    assert (one.peer is not None) == (between < PEER_WITHIN)


def test_thousands_of_rejections_whose_peers_never_come_are_counted_all_the_same() -> None:
    text = b"".join(rejection(fingerprint(number), 1, number + 1) for number in range(4000))
    tally = tallied(text, text, peer(4000, "sender"))
    assert sum(sighting.attempts for sighting in tally.take()) == 8000


def test_a_local_part_that_poses_as_a_process_id_ties_nothing() -> None:
    (one,) = tallied(rejection(FIRST, 1, 11) + peer(99, '"[11] "@example').replace(b"[99] H", b"[98] H")).take()
    assert one.peer is None


def test_a_time_that_cannot_be_is_no_rejection() -> None:
    assert (
        tallied(rejection(FIRST, 1).replace(b"2026-11-22 17", b"0001-01-01 00").replace(b"+0000", b"+1400")).take()
        == ()
    )


def test_a_line_longer_than_any_of_exims_is_no_rejection_and_hides_none(tmp_path: Path) -> None:
    log = Log(tmp_path / "mainlog")
    log.raw(b"x" * 20_000 + b" " + rejection(FIRST, 1))
    log.reject()
    looking = Looking(log.path)
    looking.look()
    looking.kill()
    assert looking.twin.taken() == log.written
