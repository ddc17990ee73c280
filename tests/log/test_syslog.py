"""Exim's entries as syslog carries them: in parts, without a process id in the text, many processes at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from lab.log import FIRST, fingerprint

from eximcertd.fingerprint import Fingerprint
from eximcertd.log.aggregator import Aggregator
from eximcertd.log.line import DEFAULT_MESSAGE, Grammar
from eximcertd.log.sighting import Peer, Sighting
from eximcertd.log.syslog import SyslogEntries

if TYPE_CHECKING:
    from collections.abc import Sequence

AT = datetime(2026, 11, 22, 17, 3, 3, tzinfo=UTC)
MS = int(AT.timestamp() * 1000)
REJECTED = f"{DEFAULT_MESSAGE} {FIRST}"
REFUSED = "H=(c) [192.0.2.1] X=TLS1.3:GCM:256 CV=yes F=<s@example> rejected RCPT <r@example>: relay not permitted"
PEER = Peer("192.0.2.1", "c", "s@example", "r@example")


class Syslog:
    """What is made of Exim's messages, in their order."""

    def __init__(self) -> None:
        grammar = Grammar()
        self._aggregator = Aggregator(grammar, UTC)
        self.entries = SyslogEntries(grammar, self._aggregator)

    def read(self, *messages: str, pid: int = 7, at: datetime = AT) -> None:
        """Take messages of one process."""
        for message in messages:
            self.entries.read(message.encode("latin-1"), pid, at)

    def take(self) -> Sequence[Sighting]:
        """Return what was found since the last call."""
        return self._aggregator.take()


@pytest.fixture
def syslog() -> Syslog:
    return Syslog()


def one(attempts: int = 1, peer: Peer | None = None) -> list[Sighting]:
    """Return what attempts of the first certificate are."""
    return [Sighting(Fingerprint(FIRST), attempts, MS, MS, peer)]


def test_an_entry_has_its_own_time_or_else_that_of_the_message(syslog: Syslog) -> None:
    syslog.read(REJECTED, f"2026-11-22 17:03:04 +0000 {REJECTED}")
    assert list(syslog.take()) == [Sighting(Fingerprint(FIRST), 2, MS, MS + 1000)]


@pytest.mark.parametrize("cut", [1, 40, len(DEFAULT_MESSAGE), len(REJECTED) - 1])
def test_a_long_entry_is_joined_though_another_process_logs_between_its_parts(syslog: Syslog, cut: int) -> None:
    syslog.read(f"[1/3] {REJECTED[:cut]}")
    syslog.read("[1/2] another entry, and", REJECTED, pid=8)
    syslog.read(f"[2/3] {REJECTED[cut:-1]}")
    syslog.read("[2/2] its end", pid=8)
    syslog.read(f"[3/3] {REJECTED[-1]}")
    assert list(syslog.take()) == one(2)


def test_a_part_that_ends_at_a_newline_brings_it_along(syslog: Syslog) -> None:
    syslog.read("[1\\2] Exim said:", f"[2\\2] {REJECTED}")
    assert syslog.take() == (), "it is in the middle of an entry"


@pytest.mark.parametrize(
    "parts",
    [
        [f"[2/2] {REJECTED}"],
        ["[1/3] x", f"[3/3] {REJECTED}"],
        [f"[1/2] {DEFAULT_MESSAGE} ", "an entry of its own", f"[1/2] {FIRST}"],
        ["[1/2] ", f"[2/2] {'x' * 9000}", f"[2/2] {REJECTED}"],
    ],
    ids=["without its beginning", "without its middle", "begun anew", "too long"],
)
def test_parts_that_do_not_make_an_entry_are_none(syslog: Syslog, parts: list[str]) -> None:
    syslog.read(*parts)
    assert syslog.take() == ()
    syslog.read(f"[1/2] {REJECTED[:9]}", f"[2/2] {REJECTED[9:]}")
    assert list(syslog.take()) == one(), "the next one is read"


def test_an_entry_as_long_as_exim_writes_one_is_read_and_a_longer_one_is_not(syslog: Syslog) -> None:
    for extra, found in ((0, 1), (1, 0)):
        first = "x" * (8192 - len(REJECTED) + extra)
        syslog.read(f"[1/2] {first}", f"[2/2] {REJECTED}")
        assert syslog.take() == ()
        assert len(syslog.entries.parts()) == 0
        syslog.read(f"[1/3] {first}", f"[2/3] {REJECTED}")
        assert len(syslog.entries.parts()) == found
        syslog.read("[3/3] ")


def test_of_many_entries_that_never_end_the_oldest_are_dropped(syslog: Syslog) -> None:
    for pid in range(1, 66):
        syslog.read(f"[1/2] {REJECTED[:9]}", pid=pid)
    assert list(syslog.entries.parts()) == [f"{pid}" for pid in range(2, 66)]
    for pid in (1, 2, 65):
        syslog.read(f"[2/2] {REJECTED[9:]}", pid=pid)
    assert list(syslog.take()) == one(2)


def test_a_restart_between_two_parts_loses_nothing(syslog: Syslog) -> None:
    syslog.read("[1/3] caf\xe9 ", f"[2/3] {REJECTED[:9]}", pid=8)
    syslog.read(f"[1/2] {REJECTED[:9]}")
    after = Syslog()
    after.entries.restore(syslog.entries.parts())
    assert after.entries.parts() == {"8": ["caf\xe9 ", REJECTED[:9]], "7": [REJECTED[:9]]}
    after.read(f"[2/2] {REJECTED[9:]}")
    assert list(after.take()) == one()
    assert list(after.entries.parts()) == ["8"]


@pytest.mark.parametrize(
    ("rejected", "refused", "pid"),
    [
        (REJECTED, REFUSED, 7),
        (REJECTED, f"2026-11-22 17:03:03 {REFUSED}", 7),
        (REJECTED, f"2026-11-22 17:03:03.250 +0000 {REFUSED}", 7),
        (f"[42] {REJECTED}", f"[42] {REFUSED}", 7),
        (f"2026-11-22 17:03:03 +0000 [42] {REJECTED}", f"2026-11-22 17:03:03 +0000 [42] {REFUSED}", 8),
    ],
)
def test_the_peer_is_in_a_later_entry_of_the_same_process(
    syslog: Syslog, rejected: str, refused: str, pid: int
) -> None:
    syslog.read(rejected)
    syslog.read(REFUSED, pid=9)
    syslog.read("no host name found for IP address 192.0.2.1", refused, pid=pid)
    syslog.read(refused.replace("s@example", "late@example"), pid=pid)
    assert list(syslog.take()) == one(peer=PEER)


@pytest.mark.parametrize(("seconds", "peer"), [(10, PEER), (11, None)])
def test_a_refusal_without_a_time_has_that_of_its_message(syslog: Syslog, seconds: int, peer: Peer | None) -> None:
    syslog.read(REJECTED)
    syslog.read(REFUSED, at=AT.replace(second=3 + seconds))
    assert list(syslog.take()) == one(peer=peer)


@pytest.mark.parametrize(("between", "peer"), [(499, PEER), (500, None)])
def test_a_peer_is_looked_for_in_the_next_five_hundred_entries(syslog: Syslog, between: int, peer: Peer | None) -> None:
    syslog.read(REJECTED)
    syslog.read(*["something else"] * between, pid=8)
    syslog.read(REFUSED)
    assert list(syslog.take()) == one(peer=peer)


def test_of_many_rejections_whose_peers_never_come_the_oldest_are_forgotten(syslog: Syslog) -> None:
    for pid in range(1, 66):
        syslog.read(f"{DEFAULT_MESSAGE} {fingerprint(pid)}", pid=pid)
    for pid in range(1, 66):
        syslog.read(REFUSED, pid=pid)
    peers = {sighting.fingerprint: sighting.peer for sighting in syslog.take()}
    assert [pid for pid in range(1, 66) if peers[Fingerprint(fingerprint(pid))] is None] == [1]


def test_sightings_of_one_certificate_add_up() -> None:
    total = Sighting(Fingerprint(FIRST))
    for other in (
        Sighting(total.fingerprint, 0, None, 5, PEER),
        Sighting(total.fingerprint, 2, 3, 4),
        Sighting(total.fingerprint, 1, 9, 9),
        Sighting(total.fingerprint, 1, 2, None),
    ):
        total.merge(other)
    assert total == Sighting(total.fingerprint, 4, 2, 9, PEER)
    for at in (1, 10, 5):
        total.add(at)
    assert total == Sighting(total.fingerprint, 7, 1, 10, PEER)
