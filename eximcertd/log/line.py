r"""The grammar of the main log's lines about a verified certificate that is not on the list.

    2026-11-22 17:03:03.407 +0000 [22426] 1xVAyN-00064E-0s Attempt to relay ... allowed: 58CD...8AC6

Each part before the text is optional, in this order: date and time (left out by ``syslog_timestamp =
false``), milliseconds (``log_selector = +millisec``), zone (``log_timezone``), process id (``+pid``),
message id (a DATA ACL; 16 characters, 23 from Exim 4.97 on). Exim specification, chapter "Log files".

Anyone who connects can make Exim write a line that contains this text, or ends in it (EHLO arguments,
quoted local parts, names in certificates). So the match is anchored at both ends and works on bytes.
Even so a rejection is a hint and no proof: a local user can write a perfect one.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from itertools import islice
from typing import Final

from eximcertd import settings
from eximcertd.fingerprint import Fingerprint
from eximcertd.log.sighting import Peer

DEFAULT_MESSAGE: Final = settings.DEFAULT_MESSAGE
USE_MESSAGE: Final = "Relay for the certificate:"
"""The text of the logwrite that a site may add to the accepting statement, before the fingerprint."""

LONGEST_ENTRY: Final = 8192
"""Exim's own limit of a log entry, in bytes; a longer line is not Exim's."""

TIME: Final = (
    rb"(?:(?P<time>\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})(?:\.(?P<ms>\d{3}))?(?: (?P<zone>[+-]\d{4}))? )?"
    rb"(?:\[(?P<pid>\d{1,10})\] )?"
)
MESSAGE_ID: Final = rb"(?:[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4}) )?"

# The client chooses most of the line that names it, so the line is read field by field; no pattern backtracks far.
# (One regex with possessive groups would do, but those are broken in Python 3.11.2.)
_PREFIX = re.compile(TIME + MESSAGE_ID)
_ADDRESS = re.compile(rb"(?:^| )\[(?P<ip>[0-9A-Fa-f.:]{2,45})\](?::\d{1,5})? (?=[A-Za-z0-9]{1,8}=)")
_NAME = re.compile(rb"(?:(?P<host>[^ ()\[\]]{1,255})(?: (?=\()|\Z))?(?:\((?P<helo>.*)\))?", re.DOTALL)
_FIELD = re.compile(rb'(?P<name>[A-Za-z0-9]{1,8})=(?P<value>"(?:[^"\\]|\\.)*"|<(?:"(?:[^"\\]|\\.)*"|[^">])*>|[^ "<]*) ')
_REFUSED = re.compile(
    rb'(?:temporarily )?rejected (?:RCPT <(?P<recipient>(?:"(?:[^"\\]|\\.)*"|[^">])*)>|after DATA)(?::|\Z)'
)
_ENDED = (b"<= ", b"Completed", b"SMTP connection", b"unexpected disconnection")
_MOST_ADDRESSES: Final = 8
_MOST_FIELDS: Final = 16


@dataclass(frozen=True, slots=True)
class Rejection:
    """One refused attempt, as one log line tells it.

    at: when, aware if the line names a zone, else naive in Exim's own zone; None without a time stamp.
    pid: the Exim process that wrote it, or None (without ``+pid``).
    """

    fingerprint: Fingerprint
    at: datetime | None
    pid: int | None


@dataclass(frozen=True, slots=True)
class RejectLine:
    """A line of an Exim process that ends the wait for the peer of a rejection.

    pid, at: as in ``Rejection``. peer: who was refused; None: the process went on to something else, or ended.
    """

    pid: int
    at: datetime | None
    peer: Peer | None


class Grammar:
    """The grammar for one text (the configuration's ``log.message``).

    literal: the bytes that every rejection contains; search for them first, then ask ``match``.
    """

    def __init__(self, message: str = DEFAULT_MESSAGE) -> None:
        self.literal: Final = message.encode() + b" "
        self._line = re.compile(TIME + MESSAGE_ID + re.escape(self.literal) + rb"(?P<fingerprint>[0-9A-F]{64})")

    def match(self, line: bytes | bytearray, start: int = 0, end: int = sys.maxsize) -> Rejection | None:
        """Return the rejection that a whole line, without its newline, is; None for every other line.

        start, end: offsets of the line in a longer text.
        """
        found = self._line.fullmatch(line, start, end)
        if found is None:
            return None
        stamp, milliseconds, zone, pid, fingerprint = found.groups()
        try:
            at = None if stamp is None else _time(stamp, milliseconds, zone)
        except ValueError:
            return None  # no such day or hour: Exim writes no such line
        return Rejection(Fingerprint(fingerprint.decode()), at, int(pid) if pid else None)


def match_refusal(line: bytes) -> RejectLine | None:
    """Return what a line says about the peer of a rejection by the same process; None: nothing.

    Nothing but the process id ties such a line to its rejection, so a line without one tells nothing.
    """
    found = _PREFIX.match(line) if len(line) <= LONGEST_ENTRY else None
    if found is None or not found["pid"]:
        return None
    start = found.end()
    ended = line.startswith(_ENDED, start)
    peer = _peer(line, start + 2) if line.startswith(b"H=", start) else None
    if peer is None and not ended:
        return None
    try:
        at = None if found["time"] is None else _time(found["time"], found["ms"], found["zone"])
    except ValueError:
        return None
    return RejectLine(int(found["pid"]), at, peer)


def missing_selectors(log_selector: str) -> tuple[str, ...]:
    """Return which selectors a value of Exim's ``log_selector`` lacks for the log to tell who made an attempt.

    Empty: ``pid`` ties the peer's line to the rejection, and ``tls_certificate_verified`` marks it (CV=).
    Words count in their order (Exim specification, chapter "Log files", section "Reducing or increasing what is
    logged"); by default ``pid`` is off and ``tls_certificate_verified`` is on.
    """
    state = {"pid": False, "tls_certificate_verified": True}
    for sign, word in re.findall(r"([+-])\s*([a-z_]+)", log_selector):
        for name in state:
            if word in {name, "all"}:
                state[name] = sign == "+"
    return tuple(name for name, on in state.items() if not on)


def _peer(line: bytes, start: int) -> Peer | None:
    """Return the peer that a line names, whose ``H=`` ends at ``start``; None where that can be read in two ways.

    Where helo_accept_junk_hosts is set, a HELO may hold anything, such as another address and what follows it.
    """
    rest = line[start:]
    addresses = list(islice(_ADDRESS.finditer(rest), _MOST_ADDRESSES))
    named = [(name, address) for address in addresses if (name := _NAME.fullmatch(rest, 0, address.start()))]
    if len(named) != 1 or len(addresses) == _MOST_ADDRESSES:
        return None
    name, address = named[0]
    fields, at = _fields(rest, address.end())
    refused = _REFUSED.match(rest, at)
    sender = fields.get(b"F", b"")
    # "no" is what an attempt has under the pinned recipe, which asks for no verified certificate
    if refused is None or fields.get(b"CV") not in {b"yes", b"no"} or not sender.startswith(b"<"):
        return None
    host = name["host"] + b" [" + address["ip"] + b"]" if name["host"] else address["ip"]
    texts = (host, name["helo"] or b"", sender[1:-1], refused["recipient"] or b"")
    return Peer(*(text.decode("utf-8", "backslashreplace") for text in texts))


def _fields(line: bytes, at: int) -> tuple[dict[bytes, bytes], int]:
    fields: dict[bytes, bytes] = {}
    for _ in range(_MOST_FIELDS):
        field = _FIELD.match(line, at)
        if field is None:
            break
        fields.setdefault(field["name"], field["value"])
        at = field.end()
    return fields, at


@lru_cache(maxsize=16)  # one second's lines follow each other, by the thousand in a flood
def _time(stamp: bytes, milliseconds: bytes | None, zone: bytes | None) -> datetime:
    at = datetime.fromisoformat(stamp.decode()).replace(microsecond=1000 * int(milliseconds or 0))
    if zone is None:
        return at
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    return at.replace(tzinfo=UTC if not offset else timezone(-offset if zone[:1] == b"-" else offset))
