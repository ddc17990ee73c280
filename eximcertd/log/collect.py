"""From files to batches: reads tracks through the one buffer and delivers what it counts, in bounded portions."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from eximcertd.log.search import Buffer
from eximcertd.log.source import Batch
from eximcertd.log.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo
    from threading import Event

    from eximcertd.log.line import Grammar
    from eximcertd.log.segment import Segment
    from eximcertd.log.track import Track
    from eximcertd.log.trail import Trail
    from eximcertd.log.unpack import Text

MOST_BYTES: Final = 1 << 20
"""So much log goes into one batch at most."""
MOST_FINGERPRINTS: Final = 2000
FAR: Final = 64 << 20
LONG: Final = 60.0
"""A position is delivered after so many bytes, or seconds, of reading in which nothing was found."""


class Collector:
    """Reads, counts, delivers. Not for use by two threads.

    deliver: takes what was counted. begun: called when the first piece of a file was read.

    consumed: bytes read so far. changed: the trail has changed, so that its position is to be delivered.
    current: bytes read of the log itself. beat: grows with every piece that is read. last: when a line was read last.
    """

    def __init__(self, grammar: Grammar, zone: tzinfo | None, trail: Trail, stopped: Event) -> None:
        self._buffer = Buffer(grammar.literal)
        self._tally = Tally(grammar, zone)
        self._trail = trail
        self._stopped = stopped
        self._left: dict[str, Segment] = {}
        self._last_read: Track | None = None
        self._delivered_at = time.monotonic()
        self._delivered = 0
        self._found_at: int | None = None
        self.deliver: Callable[[Batch], None] = _nowhere
        self.begun: Callable[[], None] = _nothing
        self.consumed = 0
        self.current = 0
        self.changed = False
        self.beat = 0
        self.last: datetime | None = None

    @property
    def stopped(self) -> bool:
        """Whether reading is to end, so that a file may not have been read to its end."""
        return self._stopped.is_set()

    def read(self, track: Track) -> bool:
        """Read a held plain file to its end; False: its content was replaced. Raises OSError."""
        if track is self._trail.current:
            otherwise = datetime.now(UTC)
        else:
            otherwise = datetime.fromtimestamp(track.mtime / 1e9, UTC)
        self._turn_to(track)
        some = False
        while not self._stopped.is_set():
            consumed = track.read(self._buffer, self._tally, otherwise)
            if consumed is None:
                return False
            if not consumed:
                break
            some = True
            self._note(consumed, begun=track.end == consumed)
            self.current += consumed if track is self._trail.current else 0
        if some:
            self.leave(track)
        return True

    def read_packed(self, track: Track, text: Text) -> None:
        """Read what a packed copy holds behind what was read of it. Raises UnpackError, OSError."""
        otherwise = datetime.fromtimestamp(track.mtime / 1e9, UTC)
        buffer, kept = self._buffer, 0
        self._turn_to(track)
        try:
            while not self._stopped.is_set():
                got = text.readinto(buffer.view[kept:])
                if not got:
                    break
                have = kept + got
                consumed = track.take(buffer, 0, have, self._tally, otherwise)
                kept = have - consumed
                buffer.view[:kept] = buffer.bytes[consumed:have]
                self._note(consumed, begun=0 < consumed == track.end)
        finally:
            self.leave(track)

    def head(self, text: Text, length: int) -> bytes:
        """Return the beginning of a packed text. Raises UnpackError, OSError."""
        return bytes(self._buffer.view[: text.readinto(self._buffer.view[:length])])

    def skip(self, track: Track, text: Text) -> bool | None:
        """See Track.skip."""
        self.beat += 1
        return track.skip(text, self._buffer)

    def leave(self, track: Track) -> None:
        """Note a file that Exim does not write to any more, for the ledger to know."""
        if track is not self._trail.current and track.end:
            segment = track.segment()
            self._left[segment.key] = segment
            self.changed = True

    def flush(self, *, force: bool = False) -> None:
        """Deliver what is counted, and the position where it is time; force: in any case."""
        moved = self.consumed != self._delivered
        old = time.monotonic() - self._delivered_at > LONG
        if self._tally or self.changed or (moved and (force or old or self.consumed - self._delivered > FAR)):
            self._deliver()

    def _turn_to(self, track: Track) -> None:
        if self._last_read is not track:
            self._last_read = track
            self._tally.forget_waiting()

    def _note(self, consumed: int, *, begun: bool) -> None:
        if begun:
            self.begun()
        self.beat += 1
        self.consumed += consumed
        if consumed:
            self.last = datetime.now(UTC)
        if not self._tally:
            if self.consumed - self._delivered > FAR:
                self.flush()
            return
        if self._found_at is None:
            self._found_at = self.consumed
        if self.consumed - self._found_at >= MOST_BYTES or len(self._tally) >= MOST_FINGERPRINTS:
            self._deliver()

    def _deliver(self) -> None:
        segments, self._left = tuple(self._left.values()), {}
        self.changed = False
        self.deliver(Batch(self._tally.take(), self._trail.to_text(), segments))
        self._found_at = None
        self._delivered, self._delivered_at = self.consumed, time.monotonic()


def size(track: Track) -> int:
    """Return how long a held file is now, in bytes."""
    try:
        return os.fstat(track.fd).st_size
    except OSError:
        return track.end


def _nothing() -> None:
    pass


def _nowhere(_: Batch) -> None:
    raise RuntimeError("a look before anybody takes what it finds")
