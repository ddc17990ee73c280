"""What every source of rejections is to the daemon: batches out, stop in, progress to look at.

A source runs in a thread of its own and shares nothing with the daemon but the values below. It is made
with the position that the ledger holds (None: the very first start) and delivers batches; whoever takes
them stores sightings, position and segments in one transaction, so that each line counts exactly once
whatever is killed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.log.line import Peer
    from eximcertd.log.segment import Segment


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one batch holds of one fingerprint.

    first, last: time of the first and the last attempt in the batch, aware, UTC; None if attempts is 0.
    attempts: how many. 0: nothing new but the peer of an attempt that an earlier batch counted.
    peer: who the latest attempt came from, if the log tells (log_selector = +pid), else None.
    """

    fingerprint: Fingerprint
    first: datetime | None
    last: datetime | None
    attempts: int
    peer: Peer | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read since the last batch; to be stored in one transaction, all or nothing.

    sightings: at most one per fingerprint; may be empty.
    position: opaque text to make the source with after a restart; it replaces the last one.
    segments: log files that are left behind with this batch, to be kept (by key) for ``eximcertctl scan``.
    """

    sightings: tuple[Sighting, ...]
    position: str
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a source is.

    path: what is read now, for people. position: offset in it, in bytes (0 for the journal).
    behind_bytes: what is known to be there and is not read yet. last_line_at: when the last line was read
    (aware, UTC), None before the first. problem: a sentence about what keeps the source from its work or
    makes it slower, else None. beat: grows whenever the reader was seen to go round, even with nothing to read.
    """

    path: str
    position: int
    behind_bytes: int
    last_line_at: datetime | None
    problem: str | None
    beat: int


class Source(Protocol):
    """Where rejections come from."""

    def run(self, deliver: Callable[[Batch], None]) -> None:
        """Read until ``stop``, in the calling thread. What ``deliver`` raises ends it and comes out here."""

    def stop(self) -> None:
        """Make ``run`` return soon; from any thread, also before ``run`` and more than once."""

    def progress(self) -> Progress:
        """Tell how far it is; from any thread."""

    def segments(self) -> tuple[Segment, ...]:
        """Tell which log files it follows or has found and will read; from any thread. () for the journal."""
