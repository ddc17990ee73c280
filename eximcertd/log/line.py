r"""The grammar of the log line that Exim writes for a verified certificate that is not on the list.

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
from typing import Final

from eximcertd import settings
from eximcertd.fingerprint import Fingerprint

DEFAULT_MESSAGE: Final = settings.DEFAULT_MESSAGE

_TIME = (
    rb"(?:(?P<time>\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})(?:\.(?P<ms>\d{3}))?(?: (?P<zone>[+-]\d{4}))? )?"
    rb"(?:\[(?P<pid>\d{1,10})\] )?"
)
_MESSAGE_ID = rb"(?:[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4}) )?"

# Strangers choose most of a peer's line, so it is read field by field, none of which can backtrack far. (One
# regex with possessive groups would do, but those are broken in Python 3.11.2.)
_PEER = re.compile(
    _TIME
    + _MESSAGE_ID
    + rb"H=(?:(?P<host>[^ ()\[\]]{1,255}) )?(?:\((?P<helo>[^ ]{0,512})\) )?"
    + rb"\[(?P<ip>[0-9A-Fa-f.:]{2,45})\](?::\d{1,5})? "
)
_FIELD = re.compile(rb'(?P<name>[A-Za-z0-9]{1,8})=(?P<value>"(?:[^"\\]|\\.)*"|<(?:"(?:[^"\\]|\\.)*"|[^">])*>|[^ "<]*) ')
_REFUSED = re.compile(rb'(?:temporarily )?rejected (?:RCPT <(?P<recipient>(?:"(?:[^"\\]|\\.)*"|[^">])*)>|after DATA): ')
_MOST_FIELDS: Final = 16
LONGEST_PEER: Final = 8192
"""Exim's own limit of a log entry; what is longer, no Exim wrote."""


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
class Peer:
    """Who it was that was refused, from the line that follows a rejection: strangers' words, unescaped.

    host: IP address, behind its verified name if there is one. helo, sender, recipient: as they were given
    (recipient is empty where the refusal came after DATA).
    """

    host: str
    helo: str
    sender: str
    recipient: str


class Grammar:
    """The grammar for one text (the configuration's ``log.message``).

    literal: the bytes that every rejection contains; search for them first, then ask ``match``.
    """

    def __init__(self, message: str = DEFAULT_MESSAGE) -> None:
        self.literal: Final = message.encode() + b" "
        self._line = re.compile(_TIME + _MESSAGE_ID + re.escape(self.literal) + rb"(?P<fingerprint>[0-9A-F]{64})")

    def match(self, line: bytes | bytearray, start: int = 0, end: int = sys.maxsize) -> Rejection | None:
        """Return the rejection that a whole line, without its newline, is; None for every other line.

        start, end: where the line stands in a longer text.
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


def match_peer(line: bytes) -> tuple[int, Peer] | None:
    """Return process id and peer of a line that refuses a recipient to a verified client, else None.

    Nothing but the process id ties such a line to its rejection, so a line without one tells nothing.
    """
    found = _PEER.match(line) if len(line) <= LONGEST_PEER else None
    if found is None or not found["pid"]:
        return None
    at = found.end()
    fields: dict[bytes, bytes] = {}
    for _ in range(_MOST_FIELDS):
        field = _FIELD.match(line, at)
        if field is None:
            break
        fields.setdefault(field["name"], field["value"])
        at = field.end()
    refused = _REFUSED.match(line, at)
    sender = fields.get(b"F", b"")
    if refused is None or fields.get(b"CV") != b"yes" or not sender.startswith(b"<"):
        return None
    name, address = found["host"], found["ip"]
    host = name + b" [" + address + b"]" if name else address
    texts = (host, found["helo"] or b"", sender[1:-1], refused["recipient"] or b"")
    return int(found["pid"]), Peer(*(text.decode("utf-8", "backslashreplace") for text in texts))


@lru_cache(maxsize=16)  # one second's lines follow each other, by the thousand in a flood
def _time(stamp: bytes, milliseconds: bytes | None, zone: bytes | None) -> datetime:
    at = datetime.fromisoformat(stamp.decode()).replace(microsecond=1000 * int(milliseconds or 0))
    if zone is None:
        return at
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    return at.replace(tzinfo=UTC if not offset else timezone(-offset if zone[:1] == b"-" else offset))
