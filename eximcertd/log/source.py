"""The interface of every source of rejections: batches, stop, progress.

A source runs in its own thread and shares only the values below with the daemon. The daemon stores a batch in one
transaction before it requests the next one, so that each line counts exactly once even after a kill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from eximcertd.log.sighting import Sighting


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read since the last batch; to be stored in one transaction, all or nothing.

    sightings: at most one per fingerprint; may be empty.
    position: opaque text to make the source with after a restart; it replaces the last one.
    files: (key, JSON text) of the log files that were read, see cursor.py; each replaces what its key holds.
    """

    sightings: tuple[Sighting, ...]
    position: str
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a source is.

    path: what is read now, for people. position: offset in it, in bytes (0 for the journal).
    behind_bytes: what is known to be there and is not read yet. last_line_at: when the last line was read
    (aware, UTC), None before the first. problem: a sentence about what keeps the source from its work, makes it
    slower or was lost, else None. beat: grows whenever the reader makes progress, even with nothing to read.
    lines: how many lines, or entries of the journal, were read since the start.
    """

    path: str
    position: int
    behind_bytes: int
    last_line_at: datetime | None
    problem: str | None
    beat: int
    lines: int = 0


class Source(Protocol):
    """Where rejections come from. timezone: Exim's option, as zone.py reads it."""

    timezone: str

    def batches(self) -> Iterator[Batch]:
        """Read until ``stop``, in the calling thread. The next batch is asked for when the last one is stored."""

    def stop(self) -> None:
        """Make ``batches`` end soon; from any thread, also before it begins and more than once."""

    def progress(self) -> Progress:
        """Tell how far it is; from any thread."""
