r"""Exim's entries as syslog carries them: a header's process id instead of one in the text, long ones in parts.

Exim splits an entry at about 870 characters, "[1/2] ..." and "[2/2] ...", and at newlines, "[1\2] ..." (Exim
specification, chapter "Log files", section on syslog).

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from eximcertd.log.line import LONGEST_PEER, match_peer

if TYPE_CHECKING:
    from datetime import datetime

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.log.line import Grammar
    from eximcertd.log.tally import Tally

_PART = re.compile(rb"\[(?P<number>\d{1,3})(?P<cut>[/\\])(?P<count>\d{1,3})\] ")
_STAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?(?: [+-]\d{4})? ")
_MOST_SPLIT: Final = 64
_MOST_WAITING: Final = 64
_WAITS: Final = 500
"""So many entries behind its rejection a peer is looked for."""


class Entries:
    """Takes messages one by one and counts the rejections among them in a tally."""

    def __init__(self, grammar: Grammar, tally: Tally) -> None:
        self._grammar = grammar
        self._tally = tally
        self._parts: dict[int, list[bytes]] = {}
        self._waiting: dict[int, tuple[Fingerprint, int]] = {}
        self._number = 0

    def take(self, message: bytes, pid: int, at: datetime) -> None:
        """Take a message of one of Exim's processes. at: when it was logged, where the text does not tell."""
        self._number += 1
        entry = self._joined(message, pid)
        if entry is None:
            return
        rejection = self._grammar.match(entry) if self._grammar.literal in entry else None
        if rejection is not None:
            if self._tally.add(rejection.fingerprint, rejection.at or at):
                self._waiting[rejection.pid or pid] = (rejection.fingerprint, self._number)
                while len(self._waiting) > _MOST_WAITING:
                    del self._waiting[next(iter(self._waiting))]
        elif self._waiting:
            self._meet(entry, pid)

    def parts(self) -> dict[str, list[str]]:
        """Return what is kept of entries whose rest has not come yet, for a position."""
        return {str(pid): [part.decode("latin-1") for part in parts] for pid, parts in self._parts.items()}

    def restore(self, parts: dict[str, Any]) -> None:
        """Go on with what ``parts`` told. Raises ValueError, TypeError, AttributeError."""
        self._parts = {int(pid): [str(part).encode("latin-1") for part in some] for pid, some in parts.items()}

    def _meet(self, entry: bytes, pid: int) -> None:
        found = match_peer(entry) or match_peer(b"[%d] " % pid + _STAMP.sub(b"", entry, count=1))
        if found is None or found[0] not in self._waiting:
            return
        fingerprint, number = self._waiting.pop(found[0])
        if self._number - number <= _WAITS:
            self._tally.meet(fingerprint, found[1])

    def _joined(self, message: bytes, pid: int) -> bytes | None:
        """Return the whole entry that a message is or ends; None while there is more to come."""
        part = _PART.match(message)
        if part is None:
            return message
        number, count = int(part["number"]), int(part["count"])
        parts = self._parts.pop(pid, []) if number > 1 else []
        parts.append(message[part.end() :] + (b"\n" if part["cut"] == b"\\" else b""))
        if number != len(parts) or sum(map(len, parts)) > LONGEST_PEER:
            return None  # its beginning was missed
        if number == count:
            return b"".join(parts)
        self._parts[pid] = parts
        while len(self._parts) > _MOST_SPLIT:
            del self._parts[next(iter(self._parts))]
        return None
