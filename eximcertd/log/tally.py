"""Rejections folded by fingerprint, each with the peer that the log names a little later.

Times become aware and UTC here. A line without a zone is in Exim's own zone, by default the machine's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from eximcertd.log.line import match_peer
from eximcertd.log.source import Sighting

if TYPE_CHECKING:
    from datetime import tzinfo

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.log.line import Grammar, Peer
    from eximcertd.log.search import Text

PEER_WITHIN: Final = 64 * 1024
"""How many bytes of log behind a rejection its peer is looked for; Exim writes the two lines together."""

_WAITING_LIMIT: Final = 64
_TRIES: Final = 4


class _Count:
    """What is known of one fingerprint in this batch; first and last are None while there are no attempts."""

    __slots__ = ("attempts", "first", "last", "peer")

    def __init__(self) -> None:
        self.attempts = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.peer: Peer | None = None


class Tally:
    """Takes whole lines, gives sightings. zone: Exim's; None for the machine's own."""

    def __init__(self, grammar: Grammar, zone: tzinfo | None = None) -> None:
        self._grammar = grammar
        self._zone = zone
        self._counts: dict[Fingerprint, _Count] = {}
        self._waiting: dict[int, tuple[Fingerprint, int]] = {}
        self._given: datetime | None = None
        self._at = datetime.min.replace(tzinfo=UTC)

    def __len__(self) -> int:
        return len(self._counts)

    def read(self, text: Text, start: int, end: int, otherwise: datetime) -> None:
        """Take the whole lines in [start, end) of a text. otherwise: the time of lines that tell none."""
        if self._waiting:
            self._meet(text, start, end)
        at = start
        hits: dict[Fingerprint, tuple[int, int]] = {}
        while (at := text.find(at, end)) >= 0:
            line, newline = text.entry(at, start, end)
            rejection = self._grammar.match(line)
            if rejection is not None and self.add(rejection.fingerprint, rejection.at or otherwise) and rejection.pid:
                hits[rejection.fingerprint] = (rejection.pid, newline + 1)
            at = newline
        misses = 0
        for fingerprint, (pid, behind) in hits.items():
            self._waiting.pop(pid, None)
            if misses < _WAITING_LIMIT and not self._find_peer(text, fingerprint, pid, behind, end):
                misses += 1
                if end - behind < PEER_WITHIN and len(self._waiting) < _WAITING_LIMIT:
                    self._waiting[pid] = (fingerprint, PEER_WITHIN - (end - behind))

    def add(self, fingerprint: Fingerprint, at: datetime) -> bool:
        """Count one attempt. False: there is no such time, so Exim did not write it."""
        if at is not self._given:  # the grammar gives the same object for the same second
            try:
                self._at = _utc(at, self._zone)
            except (OverflowError, ValueError, OSError):
                return False
            self._given = at
        at = self._at
        count = self._counts.get(fingerprint)
        if count is None:
            count = self._counts[fingerprint] = _Count()
        count.attempts += 1
        if count.first is None or at < count.first:
            count.first = at
        if count.last is None or at > count.last:
            count.last = at
        return True

    def meet(self, fingerprint: Fingerprint, peer: Peer) -> None:
        """Note who the latest attempt came from."""
        self._counts.setdefault(fingerprint, _Count()).peer = peer

    def forget_waiting(self) -> None:
        """Another file comes next: process ids tie nothing across."""
        self._waiting.clear()

    def take(self) -> tuple[Sighting, ...]:
        """Return what was counted since the last call, and begin anew."""
        counts, self._counts = self._counts, {}
        sightings = [
            Sighting(fingerprint, count.first, count.last, count.attempts, count.peer)
            for fingerprint, count in counts.items()
        ]
        return tuple(sightings)

    def _meet(self, text: Text, start: int, end: int) -> None:
        """Look in a new piece of text for the peers that are still waited for."""
        for pid, (fingerprint, left) in list(self._waiting.items()):
            if self._find_peer(text, fingerprint, pid, start, min(end, start + left)) or end - start >= left:
                del self._waiting[pid]
            else:
                self._waiting[pid] = (fingerprint, left - (end - start))

    def _find_peer(self, text: Text, fingerprint: Fingerprint, pid: int, start: int, end: int) -> bool:
        """Look for the peer's line of a process in the text [start, end) behind its rejection."""
        mark = b"[%d] " % pid
        at, end = start, min(end, start + PEER_WITHIN)
        for _ in range(_TRIES):
            at = text.find_mark(mark, at, end)
            if at < 0:
                return False
            line, at = text.entry(at, start, end)
            found = match_peer(line)
            if found is not None and found[0] == pid:
                self.meet(fingerprint, found[1])
                return True
        return False


def _utc(at: datetime, zone: tzinfo | None) -> datetime:
    if at.tzinfo is None and zone is not None:
        at = at.replace(tzinfo=zone)
    return at.astimezone(UTC)
