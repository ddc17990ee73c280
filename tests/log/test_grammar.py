"""The grammar against lines made up: every prefix that Exim can write, and what strangers may try."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eximcertd.log.line import DEFAULT_MESSAGE, LONGEST_ENTRY, Grammar, match_refusal, missing_selectors

if TYPE_CHECKING:
    from eximcertd.log.sighting import Peer

FINGERPRINT = "58CD37DA33201183871839DBB4C73323F8A9AC3642714D1182DB5CB267BD8AC6"
LINE = f"2026-11-22 17:03:03 {DEFAULT_MESSAGE} {FINGERPRINT}".encode()
PEER = (
    b"2026-11-22 17:03:06 [22426] H=(client) [192.0.2.1] X=TLS1.3:GCM:256 CV=yes"
    b" F=<s@example> rejected RCPT <r@example>: relay not permitted"
)

letters = string.ascii_letters + string.digits
identifiers = st.builds(
    "{}-{}-{}".format, st.text(letters, min_size=6, max_size=6), st.text(letters, min_size=6, max_size=6),
    st.text(letters, min_size=2, max_size=2),
) | st.builds(
    "{}-{}-{}".format, st.text(letters, min_size=6, max_size=6), st.text(letters, min_size=11, max_size=11),
    st.text(letters, min_size=4, max_size=4),
)  # fmt: skip
fingerprints = st.text("0123456789ABCDEF", min_size=64, max_size=64)
stamps = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 30)).map(  # noqa: DTZ001 - Exim's zone
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)


@given(
    at=st.none() | stamps,
    milliseconds=st.booleans(),
    zone=st.none() | st.integers(-12 * 60, 14 * 60),
    pid=st.none() | st.integers(1, 4194304),
    identifier=st.none() | identifiers,
    fingerprint=fingerprints,
)
def test_each_prefix_that_exim_can_write_is_understood(  # noqa: PLR0917 - Hypothesis names them
    at: datetime | None,
    milliseconds: bool,
    zone: int | None,
    pid: int | None,
    identifier: str | None,
    fingerprint: str,
) -> None:
    line, expected = "", None
    if at is not None:
        expected = at if milliseconds else at.replace(microsecond=0)
        line += f"{expected:%Y-%m-%d %H:%M:%S}".rjust(19, "0")
        line += f".{expected.microsecond // 1000:03}" if milliseconds else ""
        if zone is not None:
            line += f" {'-' if zone < 0 else '+'}{abs(zone) // 60:02}{abs(zone) % 60:02}"
            expected = expected.replace(tzinfo=timezone(timedelta(minutes=zone)))
        line += " "
    line += f"[{pid}] " if pid else ""
    line += f"{identifier} " if identifier else ""
    found = Grammar().match(f"{line}{DEFAULT_MESSAGE} {fingerprint}".encode())
    assert found is not None
    assert (found.fingerprint, found.at, found.pid) == (fingerprint, expected, pid)
    assert found.at is None or (found.at.utcoffset() == (expected.utcoffset() if expected else None))


@given(before=st.binary(min_size=1, max_size=200), after=st.binary(max_size=100))
def test_text_before_or_behind_a_perfect_line_makes_it_another_line(before: bytes, after: bytes) -> None:
    assert Grammar().match(before + LINE) is None
    assert Grammar().match(LINE + b" " + after) is None
    assert Grammar().match(LINE + b"\n") is None


@given(st.binary(max_size=300))
def test_nothing_else_is_a_rejection(line: bytes) -> None:
    assert Grammar().match(line) is None
    match_refusal(line)


@given(position=st.integers(0, len(LINE) - 1), byte=st.integers(0, 255))
def test_one_other_byte_never_gives_another_fingerprint_unless_it_is_one_of_its_digits(
    position: int, byte: int
) -> None:
    other = LINE[:position] + bytes([byte]) + LINE[position + 1 :]
    found = Grammar().match(other)
    if position < len(LINE) - 64:
        assert found is None or found.fingerprint == FINGERPRINT
    else:
        assert (found is not None) == (byte in b"0123456789ABCDEF")


@pytest.mark.parametrize(
    "line",
    [
        LINE.lower(),
        LINE[:-1],
        LINE + b"0",
        LINE.replace(b"58CD", b"58cd"),
        b" " + LINE,
        LINE.replace(b"11-22", b"13-22"),
        LINE.replace(b"17:03:03", b"25:03:03"),
        LINE.replace(b"2026-11-22 17:03:03", b"2026-11-22 17:03:03 +9999"),
        LINE.replace(b"2026", "²026".encode()),
        LINE.replace(b"17:03:03 ", b"17:03:03  "),
        LINE.replace(b"allowed:", b"allowed"),
        b"2026-11-22 17:03:03 1xVAyN-00064E-0s-X " + LINE[20:],
    ],
)
def test_what_only_looks_like_the_line_is_no_rejection(line: bytes) -> None:
    assert Grammar().match(line) is None


def test_a_line_is_found_in_the_middle_of_a_text_by_its_offsets() -> None:
    text = bytearray(b"x\n" + LINE + b"\ny")
    assert Grammar().match(text, 2, 2 + len(LINE)) == Grammar().match(LINE)
    assert Grammar().match(text, 1, 2 + len(LINE)) is None
    assert Grammar().match(text) is None


def test_a_zone_in_the_line_makes_the_time_aware() -> None:
    found = Grammar().match(LINE.replace(b"17:03:03", b"17:03:03.250 -0330"))
    assert found is not None
    assert found.at is not None
    assert found.at.astimezone(UTC) == datetime(2026, 11, 22, 20, 33, 3, 250_000, tzinfo=UTC)


def test_another_text_of_the_acl_is_matched_literally() -> None:
    grammar = Grammar("Refused (*.example) [+]:")
    assert grammar.match(f"2026-11-22 17:03:03 Refused (*.example) [+]: {FINGERPRINT}".encode()) is not None
    assert grammar.match(LINE) is None


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        (b"H=[192.0.2.1]", ("192.0.2.1", "")),
        (b"H=(helo) [192.0.2.1]", ("192.0.2.1", "helo")),
        (b"H=mail.example [2001:db8::1]", ("mail.example [2001:db8::1]", "")),
        (b"H=mail.example (helo) [2001:db8::1]:4711 I=[2001:db8::2]:25", ("mail.example [2001:db8::1]", "helo")),
        (b"H=(x y) [192.0.2.1] U=root", ("192.0.2.1", "x y")),
        (b"H=(x\xff\x1b) [192.0.2.1] U=root", ("192.0.2.1", "x\\xff\x1b")),
    ],
)
def test_every_way_to_name_a_host_is_read(host: bytes, shown: tuple[str, str]) -> None:
    peer = peer_of(PEER.replace(b"H=(client) [192.0.2.1]", host))
    assert (peer.host, peer.helo) == shown


def peer_of(line: bytes) -> Peer:
    refusal = match_refusal(line)
    assert refusal is not None
    assert refusal.peer is not None
    assert refusal.pid == 22426
    return refusal.peer


def test_a_quoted_local_part_or_a_name_in_a_certificate_cannot_pose_as_another_field() -> None:
    peer = peer_of(
        PEER.replace(b"F=<s@", b'DN="CN=x F=<root@victim> rejected RCPT <a>: CV=no" F=<"> rejected RCPT <b>: "@')
    )
    assert (peer.sender, peer.recipient) == ('"> rejected RCPT <b>: "@example', "r@example")


@pytest.mark.parametrize(
    "end", [b"", b": relay not permitted", b": host (x) [192.0.2.9] is listed", b": X=y [1.2.3.4]"]
)
def test_a_refusal_needs_no_message_and_its_message_hides_nobody(end: bytes) -> None:
    assert peer_of(PEER.removesuffix(b": relay not permitted") + end).recipient == "r@example"


def test_a_long_helo_hides_nobody() -> None:
    assert peer_of(PEER.replace(b"client", b"h" * 7900)).helo == "h" * 7900


@pytest.mark.parametrize(
    "helo",
    [
        b"a) [6.6.6.6] X=x CV=yes F=<e@e> rejected RCPT <r@r>: x",
        b"a) [6.6.6.6] X=x",
        b"a) [6.6.6.6]:25 CV=yes F=<e@e> rejected RCPT <r@r> ",
        b"a) [6.6.6.6] X=x CV=yes " * 9,
    ],
)
def test_a_helo_that_poses_as_another_host_gives_no_peer(helo: bytes) -> None:
    refusal = match_refusal(PEER.replace(b"client", helo))
    assert refusal is None


@pytest.mark.parametrize(
    "line",
    [
        PEER.replace(b"CV=yes ", b""),
        PEER.replace(b" [22426]", b""),
        PEER.replace(b"rejected RCPT", b"rejected VRFY"),
        b"x" + PEER,
        PEER + b"x" * LONGEST_ENTRY,
    ],
)
def test_what_refuses_nobody_verified_names_no_peer(line: bytes) -> None:
    assert match_refusal(line) is None


@pytest.mark.parametrize(
    ("selector", "missing"),
    [
        ("", ("pid",)),
        ("+pid", ()),
        ("+all", ()),
        ("+all -pid", ("pid",)),
        ("+pid -tls_certificate_verified", ("tls_certificate_verified",)),
        ("-all +pid", ("tls_certificate_verified",)),
        ("+smtp_connection +pid +tls_peerdn", ()),
    ],
)
def test_a_log_selector_tells_whether_the_log_names_the_peers(selector: str, missing: tuple[str, ...]) -> None:
    assert missing_selectors(selector) == missing


HOSTILE = [
    b"2026-11-22 17:03:06 [22426] H=" + b"(" * 3000 + b"[1.1.1.1] ",
    b"2026-11-22 17:03:06 [22426] H=(" + b"a) [1.1.1.1] (" * 500,
    PEER[:70] + b"A=b " * 1800,
    PEER[:70] + b'A="' * 1800,
    PEER.replace(b"<s@example>", b"<" + b'""' * 3000 + b">"),
    PEER.replace(b"<s@example>", b'<"' + b"\\" * 6000),
    PEER.replace(b"<s@example>", b"<" + b'"a' * 3000),
    PEER.replace(b"<r@example>:", b"<" + b'"a' * 3000),
    PEER.replace(b"<r@example>:", b"<r@example>" * 600),
    b"2026-11-22 17:03:03 " * 400,
    DEFAULT_MESSAGE.encode() * 100,
]


@pytest.mark.timeout(30)  # with one loop too many this takes hours
@given(st.sampled_from(HOSTILE), st.integers(0, LONGEST_ENTRY), st.sampled_from([b"", b'"', b">", b" ", b": "]))
def test_no_line_costs_more_than_its_length(line: bytes, cut: int, end: bytes) -> None:
    line = line[:cut][: LONGEST_ENTRY - 2] + end
    assert match_refusal(line) is None or line.startswith(PEER[:60])
    assert Grammar().match(line) is None
