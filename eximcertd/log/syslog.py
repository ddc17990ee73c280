r"""Exim's entries as syslog carries them: a process id in the header instead of the text, long ones in parts.

Exim splits an entry at about 870 characters, "[1/2] ..." and "[2/2] ...", and at newlines, "[1\2] ..." (Exim
specification, chapter "Log files", section on syslog).

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from eximcertd.log.aggregator import USES
from eximcertd.log.certificate_line import LITERAL, CertificateLine, match_certificate
from eximcertd.log.line import LONGEST_ENTRY, match_refusal

if TYPE_CHECKING:
    from datetime import datetime

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.log.aggregator import Aggregator
    from eximcertd.log.line import Grammar

_PART = re.compile(rb"\[(?P<number>\d{1,3})(?P<cut>[/\\])(?P<count>\d{1,3})\] ")
_STAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?(?: [+-]\d{4})? ")
_MOST_SPLIT: Final = 64
_MOST_WAITING: Final = 64
_WAITS: Final = 500
"""After its rejection a peer is looked for in so many entries."""


class SyslogEntries:
    """Takes messages one by one and counts the rejections among them in an aggregator."""

    def __init__(self, grammar: Grammar, aggregator: Aggregator) -> None:
        self._grammar = grammar
        self._aggregator = aggregator
        self._parts: dict[int, list[bytes]] = {}
        self._waiting: dict[int, tuple[Fingerprint, int, int]] = {}
        self._certificates: dict[Fingerprint, CertificateLine] = {}
        self._number = 0

    def read(self, message: bytes, pid: int, at: datetime) -> None:
        """Take a message of one of Exim's processes. at: when it was logged, where the text does not tell."""
        self._number += 1
        entry = self._joined(message, pid)
        if entry is None:
            return
        rejection = self._grammar.match(entry) if self._grammar.literal in entry else None
        if rejection is not None:
            when = self._aggregator.add(rejection.fingerprint, rejection.at or at)
            if when is not None:
                self._aggregator.show(rejection.fingerprint, self._certificates.pop(rejection.fingerprint, None))
                self._waiting[rejection.pid or pid] = (rejection.fingerprint, when, self._number)
                while len(self._waiting) > _MOST_WAITING:
                    del self._waiting[next(iter(self._waiting))]
        elif USES.literal in entry and (accepted := USES.match(entry)) is not None:
            self._aggregator.use(accepted.fingerprint, accepted.at or at)
        elif LITERAL in entry and (line := match_certificate(entry)) is not None:
            self._certificates[line.fingerprint] = line
            while len(self._certificates) > _MOST_WAITING:
                del self._certificates[next(iter(self._certificates))]
        elif self._waiting:
            self._look_for_peer(entry, pid, at)

    def parts(self) -> dict[str, list[str]]:
        """Return what is kept of entries whose rest has not come yet, for a position."""
        return {str(pid): [part.decode("latin-1") for part in parts] for pid, parts in self._parts.items()}

    def restore(self, parts: dict[str, Any]) -> None:
        """Go on with what ``parts`` told. Raises ValueError, TypeError, AttributeError."""
        self._parts = {int(pid): [str(part).encode("latin-1") for part in some] for pid, some in parts.items()}

    def _look_for_peer(self, entry: bytes, pid: int, at: datetime) -> None:
        refusal = match_refusal(entry) or match_refusal(b"[%d] " % pid + _STAMP.sub(b"", entry, count=1))
        if refusal is None or refusal.pid not in self._waiting:
            return
        fingerprint, when, number = self._waiting.pop(refusal.pid)
        if self._number - number <= _WAITS:
            self._aggregator.meet(fingerprint, when, replace(refusal, at=refusal.at or at))

    def _joined(self, message: bytes, pid: int) -> bytes | None:
        """Return the whole entry that a message is or ends; None while there is more to come."""
        part = _PART.match(message)
        if part is None:
            return message
        number, count = int(part["number"]), int(part["count"])
        parts = self._parts.pop(pid, []) if number > 1 else []
        parts.append(message[part.end() :] + (b"\n" if part["cut"] == b"\\" else b""))
        if number != len(parts) or sum(map(len, parts)) > LONGEST_ENTRY:
            return None  # its beginning was missed
        if number == count:
            return b"".join(parts)
        self._parts[pid] = parts
        while len(self._parts) > _MOST_SPLIT:
            del self._parts[next(iter(self._parts))]
        return None
