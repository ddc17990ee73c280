"""Following Exim's main log, whatever happens to it: each line counts once.

Every look goes the same way, whether an event or the clock called for it: read on in what is held open; see
what lies under the log's name now, and in its directories; read what is found there and not known yet.
Rotated files are held open for a while, since Exim's processes may still write to them.
"""

from __future__ import annotations

import os
import time
from threading import Event
from typing import TYPE_CHECKING, Final

from eximcertd.log.collect import Collector, size
from eximcertd.log.family import Family
from eximcertd.log.names import Names
from eximcertd.log.segment import HEAD_LENGTH
from eximcertd.log.siblings import open_regular
from eximcertd.log.source import Progress
from eximcertd.log.track import Track, from_json
from eximcertd.log.trail import Trail, from_text
from eximcertd.log.watch import Watch
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo
    from pathlib import Path

    from eximcertd.log.line import Grammar
    from eximcertd.log.segment import Segment
    from eximcertd.log.source import Batch

NO_FILE: Final = "there is no such file now"
"""How the problem ends that is none: between a rotation and Exim's next line there is no log."""
HOLD: Final = 600.0
"""Seconds that a file which Exim has left is held open for late lines."""
MOST_HELD: Final = 8
_MOST_ROUNDS: Final = 5


class Follower:
    """A source that follows a file.

    path: absolute; its last part may hold %D or %M. position: what the last batch told, None at the very first
    start: then the log is read from its beginning, and what was rotated before is left alone. zone: of times
    that name none; None: the machine's. floor: seconds between looks when nothing happens. hold: see HOLD.
    Raises EximcertdError if the position cannot be understood.
    """

    def __init__(
        self,
        path: Path,
        grammar: Grammar,
        position: str | None = None,
        *,
        zone: tzinfo | None = None,
        floor: float = 10.0,
        hold: float = HOLD,
    ) -> None:
        self._path = path
        self._hold = hold
        self._stopped = Event()
        self._names = Names(path)
        self._trail = Trail() if position is None else from_text(position)
        self._collector = Collector(grammar, zone, self._trail, self._stopped)
        self._collector.begun = self._tell_segments  # a scan of the same file may begin while much is read
        self._family = Family(path, self._names, self._trail, self._collector, read_held=self._read_held, hold=hold)
        self._watch = Watch(self._stopped, floor, self._concerns)
        self._log_problem: str | None = None
        self._told = Progress(str(path), 0, 0, None, None, 0)
        self._segments: tuple[Segment, ...] = ()
        self._tell_segments()

    def run(self, deliver: Callable[[Batch], None]) -> None:
        """Follow the log until ``stop``. What ``deliver`` raises comes out."""
        self._collector.deliver = deliver
        try:
            while not self._stopped.is_set():
                consumed, expected = self._collector.consumed, self._collector.current
                self.look()
                self._watch.wait(
                    self._family.directories(self._log()),
                    found=self._collector.consumed != consumed,
                    expected=self._collector.current != expected,
                )
            self._collector.flush(force=True)
        finally:
            self._watch.close()
            for track in self._trail.tracks:
                track.close()

    def stop(self) -> None:
        """Make ``run`` return."""
        self._stopped.set()
        self._watch.wake()

    def progress(self) -> Progress:
        """Tell how far it is; while much is read at once, the end is where it was when that began."""
        told, current = self._told, self._trail.current
        last = self._collector.last or told.last_line_at
        done = max(0, current.end - told.position) if current is not None and current.name == told.path else 0
        behind = max(0, told.behind_bytes - done)
        return Progress(told.path, told.position + done, behind, last, told.problem, self._collector.beat)

    def segments(self) -> tuple[Segment, ...]:
        """Tell which files are followed, or were until lately."""
        return self._segments

    def look(self) -> None:
        """Look once at everything, and read and deliver all there is."""
        self._collector.beat += 1
        self._tell()
        for _ in range(_MOST_ROUNDS):
            self._read_held()
            turned = self._turn()
            if not (self._family.scan(self._log()) or turned) or self._stopped.is_set():
                break
        self._family.let_go(MOST_HELD)
        self._collector.flush()
        self._tell()

    def _log(self) -> Path:
        """Return the path under which Exim writes now; where it is dated and there is none yet, the template."""
        if not self._names.dated:
            return self._path
        if self._family.dated is None:
            self._family.listing(self._path)
        return self._path.with_name(self._family.dated or self._path.name)

    def _concerns(self, name: bytes) -> bool:
        return self._family.concerns(os.fsdecode(name))

    def _read_held(self) -> None:
        for track in [self._trail.current, *self._trail.held()]:
            if track is not None:
                self._read(track)

    def _read(self, track: Track) -> None:
        """Read on in a held file; where its content was replaced, begin anew, and look for a copy of the old."""
        try:
            while not self._collector.read(track):
                self._collector.leave(self._trail.add(track.left()))
                track.reset()
                self._collector.changed = True
                self._family.look_again()
        except OSError as error:
            self._log_problem = f"{clean(track.name)}: cannot be read: {error.strerror}"
            track.close()
            if track is self._trail.current:
                self._trail.current = None

    def _turn(self) -> bool:
        """See whether another file lies under the log's name, and take it up."""
        log, current = self._log(), self._trail.current
        try:
            status = log.stat()
            if current is not None and (status.st_dev, status.st_ino) == (current.dev, current.ino):
                self._log_problem = None
                return False
            fd, status = open_regular(log)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            why = NO_FILE if missing else f"cannot be read: {error.strerror}"
            self._log_problem = f"{clean(str(log))}: {why}; eximcertd waits for it"
            if current is not None:
                self._leave(current)
            return current is not None
        if current is not None:
            self._leave(current)
        self._take_up(log, fd, status)
        self._log_problem = None
        return True

    def _leave(self, track: Track) -> None:
        """Read what is left of the file that was the log; hold it for late lines."""
        self._read(track)
        self._trail.current = None
        track.until = time.monotonic() + self._hold
        self._trail.learn_olddir(track, self._family.directories(self._log()))
        self._collector.leave(track)

    def _take_up(self, log: Path, fd: int, status: os.stat_result) -> None:
        """Read on in the file that is the log now, from where it is known, or from its beginning."""
        self._family.listing(log)
        inodes = self._family.inodes() | {(status.st_dev, status.st_ino)}
        track = self._trail.plain(fd, status, str(log), inodes)
        if track is None:
            track = self._trail.add(Track(str(log), fd=fd, status=status))
        elif track.fd != fd:  # a copy, while the file itself lies elsewhere
            known, track = track, self._trail.add(Track(str(log), fd=fd, status=status))
            if known.is_copy(fd, os.pread(fd, HEAD_LENGTH, 0), status.st_size):
                track.fd = -1
                self._trail.tracks[-1] = track = from_json(known.to_json())
                track.hold(fd, status, str(log))
        self._trail.current = track
        self._collector.changed = True
        self._family.look_again()
        self._tell()

    def _tell(self) -> None:
        """Make known how far it is."""
        current = self._trail.current
        problem = self._log_problem or next(iter(self._family.problems.values()), None) or self._watch.problem
        position, behind = (current.end, max(0, size(current) - current.end)) if current is not None else (0, 0)
        path = current.name if current is not None else str(self._log())
        self._told = Progress(path, position, behind, self._told.last_line_at, problem, 0)
        self._tell_segments()

    def _tell_segments(self) -> None:
        segments = [track.segment(live=True) for track in self._trail.tracks if track.end]
        self._segments = tuple(segments)  # a generator's would be resized, and kept by Python when it is freed
