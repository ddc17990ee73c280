"""Sightings: folded by fingerprint, with the peer that the log names later, perhaps in another read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from lab.log import FIRST, Log, Looking, fingerprint

from eximcertd.fingerprint import Fingerprint
from eximcertd.log.aggregator import PEER_SECONDS, PEER_WITHIN, Aggregator, Waiting
from eximcertd.log.buffer import Buffer
from eximcertd.log.line import DEFAULT_MESSAGE, USE_MESSAGE, Grammar
from eximcertd.log.sighting import Sighting

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


class Pieces:
    """An aggregator, and the texts that are read into it one after the other, as pieces of one file."""

    def __init__(self) -> None:
        grammar = Grammar()
        self.aggregator = Aggregator(grammar, UTC)
        self._buffer = Buffer(grammar.literal, 1 << 20)
        self._waiting = Waiting()

    def read(self, *texts: bytes) -> tuple[Sighting, ...]:
        """Read texts and return what was found."""
        for text in texts:
            self._buffer.view[: len(text)] = text
            self.aggregator.read(self._buffer, 0, len(text), NOW, self._waiting)
        return self.aggregator.take()


def found(*texts: bytes) -> tuple[Sighting, ...]:
    return Pieces().read(*texts)


def at(second: int) -> int:
    return int(datetime(2026, 11, 22, 17, 3, second, tzinfo=UTC).timestamp() * 1000)


def test_accepted_recipients_are_counted_by_their_line_alone() -> None:
    who = fingerprint(1)
    line = f"2026-11-22 17:03:07 +0000 [77] {USE_MESSAGE} {who}\n"
    forged = f"2026-11-22 17:03:09 +0000 H=({USE_MESSAGE} {who}) [192.0.2.1] rejected EHLO {USE_MESSAGE} {who}\n"
    text = (line + forged + line.replace(":07", ":05") + line.replace(who, f"{who[:-1]}g")).encode()
    pieces = Pieces()
    pieces.read(text)
    buffer = Buffer(Grammar().literal, 1 << 20)
    buffer.view[: len(text)] = text
    pieces.aggregator.count_uses(buffer, 0, len(text), NOW)
    [sighting] = pieces.aggregator.take()
    assert (sighting.fingerprint, sighting.attempts) == (who, 0)
    assert (sighting.uses, sighting.used) == (2, at(7))


def test_attempts_of_one_fingerprint_are_one_sighting_with_the_first_and_the_last_time() -> None:
    pieces = Pieces()
    assert pieces.read(
        rejection(FIRST, 5) + rejection(fingerprint(2), 6) + rejection(FIRST, 4) + rejection(FIRST, 9)
    ) == (Sighting(Fingerprint(FIRST), 3, at(4), at(9)), Sighting(Fingerprint(fingerprint(2)), 1, at(6), at(6)))
    assert pieces.read() == ()


def test_the_peer_is_that_of_the_same_process_and_the_latest_attempt() -> None:
    (one,) = found(
        rejection(FIRST, 1, 11) + peer(12, "other") + peer(11, "early") + rejection(FIRST, 2, 13) + peer(13, "late")
    )
    assert one.peer is not None
    assert one.peer.sender == "late"


def test_a_peer_that_comes_in_a_later_read_makes_a_sighting_without_attempts() -> None:
    pieces = Pieces()
    assert [sighting.attempts for sighting in pieces.read(rejection(FIRST, 1, 11))] == [1]
    (late,) = pieces.read(b"2026-11-22 17:03:02 [11] something else\n", peer(12, "other"), peer(11, "sender"))
    assert (late.attempts, late.first, late.last) == (0, None, at(1))
    assert late.peer is not None
    assert late.peer.sender == "sender"


@pytest.mark.parametrize(
    "between",
    [
        b"2026-11-22 17:03:02 +0000 [11] 1xVAyN-00064E-0s <= a@example H=(a) [192.0.2.2] P=esmtps\n",
        b"2026-11-22 17:03:02 +0000 [11] SMTP connection from (a) [192.0.2.2] closed by QUIT\n",
        b"2026-11-22 17:03:02 +0000 [11] unexpected disconnection while reading SMTP command from (a) [192.0.2.2]\n",
        rejection(fingerprint(2), 2, 11),
    ],
    ids=["accepted", "closed", "gone", "another certificate"],
)
def test_a_process_id_that_came_round_again_ties_nothing(between: bytes) -> None:
    one, *_ = found(rejection(FIRST, 1, 11) + between + peer(11, "bob"))
    assert one.peer is None
    one, *_ = found(rejection(FIRST, 1, 11), between, peer(11, "bob"))
    assert one.peer is None


def test_a_refusal_much_later_is_another_clients() -> None:
    (near,) = found(rejection(FIRST, 1, 11) + peer(11, "alice", second=1 + PEER_SECONDS))
    assert near.peer is not None
    (far,) = found(rejection(FIRST, 1, 11) + peer(11, "bob", second=2 + PEER_SECONDS))
    assert far.peer is None


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
    (one,) = found(*portions)
    assert (one.peer is not None) == (between < PEER_WITHIN)


def test_thousands_of_rejections_whose_peers_never_come_are_counted_all_the_same() -> None:
    text = b"".join(rejection(fingerprint(number), 1, number + 1) for number in range(4000))
    assert sum(sighting.attempts for sighting in found(text, text, peer(4000, "sender"))) == 8000


@pytest.mark.parametrize("process", [9, 99])
def test_a_local_part_that_poses_as_a_process_id_ties_nothing(process: int) -> None:
    (one,) = found(rejection(FIRST, 1, 11) + peer(process, '"[11] "@example'))
    assert one.peer is None


def test_a_time_that_cannot_be_is_no_rejection() -> None:
    early = rejection(FIRST, 1).replace(b"2026-11-22 17", b"0001-01-01 00").replace(b"+0000", b"+1400")
    assert found(early) == ()


def test_a_line_longer_than_any_of_exims_is_no_rejection_and_hides_none(tmp_path: Path) -> None:
    log = Log(tmp_path / "mainlog")
    log.raw(b"x" * 20_000 + b" " + rejection(FIRST, 1))
    log.reject()
    looking = Looking(log.path)
    looking.look()
    looking.kill()
    assert looking.twin.taken() == log.written
