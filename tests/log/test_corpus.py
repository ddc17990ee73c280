"""The grammar against every line of a corpus that real Exims wrote (4.96), hostile clients among their callers."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eximcertd.log.line import DEFAULT_MESSAGE, Grammar, Rejection, match_refusal
from eximcertd.log.sighting import Peer

CORPUS = Path(__file__).parent / "corpus"
EC = "58CD37DA33201183871839DBB4C73323F8A9AC3642714D1182DB5CB267BD8AC6"
LEAF = "65F368C8BFADFE7C41618CC2BDA59749A27B3982109E2CF35F59F1473E2BE4C2"


def lines(name: str) -> list[bytes]:
    return (CORPUS / name).read_bytes().split(b"\n")[:-1]


def at(time: str, milliseconds: int = 0, *, zone: bool = False) -> datetime:
    stamp = datetime.fromisoformat(f"2026-11-22 {time}").replace(microsecond=1000 * milliseconds)
    return stamp.replace(tzinfo=UTC) if zone else stamp


EXPECTED: dict[str, list[tuple[str, datetime, int | None]]] = {
    "default.mainlog": [(EC, at("17:03:03"), None), (LEAF, at("17:03:03"), None)],
    "datestamped.mainlog": [(EC, at("17:03:24"), None), (LEAF, at("17:03:24"), None)],
    "logtimezone.mainlog": [(EC, at("17:03:12", zone=True), None), (LEAF, at("17:03:12", zone=True), None)],
    "millisec.mainlog": [(EC, at("17:03:09", 407), None), (LEAF, at("17:03:09", 567), None)],
    "pid.mainlog": [(EC, at("17:03:06"), 22426), (LEAF, at("17:03:06"), 22429)],
    "pid-millisec-tz.mainlog": [
        (EC, at("17:03:15", 331, zone=True), 22710),
        (LEAF, at("17:03:15", 487, zone=True), 22713),
    ],
    "all.mainlog": [(EC, at("17:03:21", 247), 23178), (LEAF, at("17:03:21", 395), 23181)],
    "all-tz.mainlog": [(EC, at("17:03:18", 535, zone=True), 22843), (LEAF, at("17:03:18", 766, zone=True), 22859)],
    "dataacl.mainlog": [(EC, at("17:03:27"), None), (LEAF, at("17:03:27"), None)],
    "dataacl-all-tz.mainlog": [
        (EC, at("17:03:30", 396, zone=True), 23416),
        (LEAF, at("17:03:30", 764, zone=True), 23530),
    ],
    "reload.mainlog": [
        *[(EC, at(f"17:28:{second}"), None) for second in (15, 15, 15, 16)],
        ("C999218C2308DFAAFA5D5A171183A01961704227878766958FA4253DD8D13F79", at("17:28:28"), None),
        (EC, at("17:28:28"), None),
    ],
    "injection.mainlog": [
        ("F38120B051938A03226BAA0C880D8AF768CE20E0E1908E2C913C498C479CDD04", at("17:07:39"), None),
        ("07BB6718910DC0F041413234CC42E52870BCED1031AFDAE67B7CF630D97FFDAA", at("17:07:39"), None),
        ("4230FB3C575CC714113927C6B0DC5076A03C1AACB44419B8AB6C4B35CD7629C5", at("17:07:39"), None),
        ("1B07B424677C9F556EF35BCE8EC65D9BFC6E91A7FC50BC8C4A055C8762F49861", at("17:07:39"), None),
        ("4262B7F56FED1FF7FA967775A3C917A5F46CEE6759E17C1A6C7985DF8A95FF8F", at("17:07:39"), None),
    ],
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_of_every_line_of_a_real_log_exactly_those_that_the_acl_wrote_are_rejections(name: str) -> None:
    grammar = Grammar()
    found = [rejection for line in lines(name) if (rejection := grammar.match(line))]
    assert [(rejection.fingerprint, rejection.at, rejection.pid) for rejection in found] == EXPECTED[name]


def test_no_log_of_the_corpus_is_left_out() -> None:
    assert {path.name for path in CORPUS.glob("*.mainlog")} == set(EXPECTED)


def test_strangers_wrote_the_text_into_eleven_more_lines_of_the_corpus() -> None:
    literal = DEFAULT_MESSAGE.encode()
    assert sum(literal in line for line in lines("injection.mainlog")) == len(EXPECTED["injection.mainlog"]) + 11


def peers(name: str) -> dict[int, Peer]:
    refusals = [refusal for line in lines(name) if (refusal := match_refusal(line))]
    return {refusal.pid: refusal.peer for refusal in refusals if refusal.peer is not None}


@pytest.mark.parametrize("name", ["pid.mainlog", "pid-millisec-tz.mainlog", "all.mainlog", "all-tz.mainlog"])
def test_the_peer_of_each_rejection_is_the_next_line_of_its_process(name: str) -> None:
    known = Peer("127.0.0.1", "client.lab.example", "s@lab.example", "r@remote.example")
    found = peers(name)
    assert {pid: found.get(pid or 0) for _, _, pid in EXPECTED[name]} == {pid: known for _, _, pid in EXPECTED[name]}


def test_a_refusal_after_data_has_a_peer_without_a_recipient() -> None:
    found = peers("dataacl-all-tz.mainlog")
    assert {found[pid].recipient for _, _, pid in EXPECTED["dataacl-all-tz.mainlog"] if pid} == {""}
    assert {found[pid].sender for _, _, pid in EXPECTED["dataacl-all-tz.mainlog"] if pid} == {"s@lab.example"}


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"pid.mainlog", "pid-millisec-tz.mainlog"}))
def test_a_line_without_a_process_id_names_no_peer(name: str) -> None:
    assert all(match_refusal(line) is None for line in lines(name) if b"[2" not in line[:40])


def syslog() -> list[bytes]:
    return [ast.literal_eval(line.decode()) for line in lines("syslog.datagrams.repr")]


def test_a_syslog_datagram_is_no_rejection_until_its_header_is_off() -> None:
    grammar = Grammar()
    assert [grammar.match(datagram) for datagram in syslog()] == [None] * 6
    texts = [datagram.partition(b": ")[2] for datagram in syslog()]
    assert [rejection for text in texts if (rejection := grammar.match(text))] == [
        Rejection(grammar.match(texts[1]).fingerprint, at("17:07:21"), None)  # type: ignore[union-attr] # None fails too
    ]
    assert grammar.match(texts[1].partition(b" ")[2].partition(b" ")[2]) == Rejection(
        grammar.match(texts[1]).fingerprint,  # type: ignore[union-attr] # None fails too
        None,
        None,
    )
