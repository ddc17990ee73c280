"""The rejections of each fingerprint, counted, with the certificate of an earlier line and the peer of a later one.

Times become ms since the epoch here. A time without a zone is in Exim's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.log.certificate_line import beginning, match_certificate
from eximcertd.log.line import USE_MESSAGE, Grammar, match_refusal
from eximcertd.log.sighting import Sighting

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, tzinfo

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.log.buffer import Buffer
    from eximcertd.log.certificate_line import CertificateLine
    from eximcertd.log.line import RejectLine

PEER_WITHIN: Final = 64 * 1024
"""How many bytes of log after a rejection its peer is looked for; Exim writes the two lines together."""
PEER_SECONDS: Final = 10
"""How many seconds later at most; a process id comes round again, but not as fast."""

USES: Final = Grammar(USE_MESSAGE)
"""The grammar of the lines that tell of accepted recipients; they have the form of a rejection."""

CERTIFICATE_WITHIN: Final = 16 * 1024
"""In how many bytes of log before a rejection its certificate is looked for."""

_YEAR_10000: Final = 253_402_300_800_000
_MOST_WAITING: Final = 64
_TRIES: Final = 4
_MOST_IN_VAIN: Final = 64


@dataclass(slots=True)
class _Wait:
    """A rejection whose peer is not known yet. pid: its process. left: bytes in which the peer's line may follow."""

    pid: int
    fingerprint: Fingerprint
    at: int
    left: int = PEER_WITHIN


class Waiting(dict[int, _Wait]):
    """The rejections of one file whose peers may follow in its next lines, by process id."""


class Aggregator:
    """Takes whole lines and returns sightings. zone: Exim's. most: fingerprints before they are taken."""

    def __init__(self, grammar: Grammar, zone: tzinfo, most: int = 1 << 30) -> None:
        self._grammar = grammar
        self._zone = zone
        self._most = most
        self._sightings: dict[Fingerprint, Sighting] = {}
        self._given: datetime | None = None
        self._at: int | None = None
        self._in_vain = 0

    def __len__(self) -> int:
        return len(self._sightings)

    @property
    def full(self) -> bool:
        """Whether it holds as many fingerprints as it may."""
        return len(self._sightings) >= self._most

    def read(
        self,
        text: Buffer,
        start: int,
        end: int,
        otherwise: datetime,
        waiting: Waiting,
        *,
        before: int | None = None,
        wanted: Callable[[str], bool] | None = None,
    ) -> int:
        """Take the whole lines in [start, end) of a buffer; return where it has stopped, with ``most`` fingerprints.

        otherwise: the time of lines that tell none. waiting: the file's; what is still looked for stays in it.
        before: where the whole lines begin that precede ``start`` in the buffer and were taken already; None: there
        are none. wanted: tells which fingerprints count; None: all.
        """
        for wait in list(waiting.values()):
            self._look_for_peer(text, wait, start, end, waiting)
        at = start
        hits: dict[Fingerprint, tuple[_Wait, int]] = {}
        while (at := text.find(at, end)) >= 0:
            if wanted is not None and not wanted(text.after_literal(at)):
                at += 1
                continue
            line, newline = text.entry(at, start, end)
            rejection = self._grammar.match(line)
            if rejection is not None:
                when = self.add(rejection.fingerprint, rejection.at or otherwise)
                if when is not None:
                    self._look_for_certificate(
                        text, rejection.fingerprint, start if before is None else before, newline - len(line)
                    )
                if when is not None and rejection.pid:
                    hits[rejection.fingerprint] = (_Wait(rejection.pid, rejection.fingerprint, when), newline + 1)
                if self.full:
                    end = min(end, newline + 1)
            at = newline
        misses = 0
        for wait, after in hits.values():
            if misses >= _MOST_WAITING:
                break  # a flood without peers
            misses += not self._look_for_peer(text, wait, after, end, waiting)
        return end

    def add(self, fingerprint: Fingerprint, at: datetime) -> int | None:
        """Count one attempt and return its time. None: there is no such time, so Exim did not write it."""
        if at is not self._given:  # the grammar gives the same object for the same second
            self._given, self._at = at, milliseconds(at, self._zone)
        if self._at is not None:
            self._sighting(fingerprint).add(self._at)
        return self._at

    def use(self, fingerprint: Fingerprint, at: datetime) -> None:
        """Count one accepted recipient."""
        when = milliseconds(at, self._zone)
        if when is not None:
            self._sighting(fingerprint).use(when)

    def count_uses(self, text: Buffer, start: int, end: int, otherwise: datetime) -> None:
        """Count the accepted recipients in the whole lines [start, end) of a buffer. otherwise: as for ``read``."""
        at = start
        while (at := text.find_mark(USES.literal, at, end)) >= 0:
            line, at = text.entry(at, start, end)
            accepted = USES.match(line)
            if accepted is not None:
                self.use(accepted.fingerprint, accepted.at or otherwise)

    def meet(self, fingerprint: Fingerprint, at: int, refusal: RejectLine) -> bool:
        """Note the peer of an attempt that was counted at ``at``, unless the refusal is of a much later time."""
        later = None if refusal.at is None else milliseconds(refusal.at, self._zone)
        if refusal.peer is None or (later is not None and abs(later - at) > 1000 * PEER_SECONDS):
            return False
        sighting = self._sighting(fingerprint)
        sighting.peer = refusal.peer
        sighting.last = at if sighting.last is None else max(at, sighting.last)
        return True

    def show(self, fingerprint: Fingerprint, line: CertificateLine | None) -> bool:
        """Note the certificate of an attempt that was counted; return whether the line is about this certificate."""
        if line is None or line.fingerprint != fingerprint:
            return False
        sighting = self._sighting(fingerprint)
        sighting.certificate = sighting.certificate or line.decoded()
        return True

    def take(self) -> tuple[Sighting, ...]:
        """Return what was counted since the last call, and begin anew."""
        sightings, self._sightings = self._sightings, {}
        return tuple(sightings.values())

    def _sighting(self, fingerprint: Fingerprint) -> Sighting:
        sighting = self._sightings.get(fingerprint)
        if sighting is None:
            sighting = self._sightings[fingerprint] = Sighting(fingerprint)
        return sighting

    def _look_for_certificate(self, text: Buffer, fingerprint: Fingerprint, start: int, end: int) -> None:
        """Look in the lines [start, end) before a rejection for its certificate, once for each fingerprint.

        It is in the last line, unless other processes have written between the two: the lines before are searched too,
        but not for ever in a log that has no such lines.
        """
        if self._sighting(fingerprint).certificate is not None:
            return
        mark = beginning(fingerprint)
        first, last = max(start, end - CERTIFICATE_WITHIN), max(start, text.bytes.rfind(b"\n", start, end - 1) + 1)
        at = text.find_mark(mark, last, end)
        if at < 0 and self._in_vain < _MOST_IN_VAIN:
            self._in_vain += 1
            at = text.bytes.rfind(mark, first, last)
        for _ in range(_TRIES):  # other lines may contain the text: a client chooses what it is called
            if at < 0:
                break
            if self.show(fingerprint, match_certificate(text.entry(at, start, end)[0])):
                self._in_vain = 0
                break
            at = text.bytes.rfind(mark, first, at)

    def _look_for_peer(self, text: Buffer, wait: _Wait, start: int, end: int, waiting: Waiting) -> bool:
        """Look for the peer of a rejection in the lines [start, end) after it; where it may still come, it waits."""
        pid = wait.pid
        waiting.pop(pid, None)
        mark, at, last = b"[%d] " % pid, start, min(end, start + wait.left)
        for _ in range(_TRIES):
            at = text.find_mark(mark, at, last)
            if at < 0:
                wait.left -= last - start
                if wait.left > 0 and len(waiting) < _MOST_WAITING:
                    waiting[pid] = wait
                return False
            line, at = text.entry(at, start, end)
            refusal = match_refusal(line)
            if refusal is not None and refusal.pid == pid:
                return self.meet(wait.fingerprint, wait.at, refusal)
            rejection = self._grammar.match(line)
            if rejection is not None and rejection.pid == pid and rejection.fingerprint != wait.fingerprint:
                break  # the process id came round again
        return False


def milliseconds(at: datetime, zone: tzinfo) -> int | None:
    """Return a time as ms since the epoch; None where no clock could have told it. zone: of a naive one."""
    try:
        found = round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)
    except (OverflowError, ValueError, OSError):
        return None
    return found if 0 <= found < _YEAR_10000 else None
