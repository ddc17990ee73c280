"""Following Exim's main log over every kind of rotation: each line counts once.

Every look has the same steps, whether an event or the clock triggered it: read the open files; open the file that now
has the log's name, and list its directories; read new files, piece by piece, with the log itself first. Rotated files
are held open for a while, since Exim's processes may still write to them.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Final

from eximcertd.log.cursor import HEAD_LENGTH, FileCursor
from eximcertd.log.directory import Names, open_regular
from eximcertd.log.listing import LogListing
from eximcertd.log.log_watcher import LogWatcher
from eximcertd.log.reader import Reader
from eximcertd.log.registry import Registry
from eximcertd.log.rotated import RotatedFiles
from eximcertd.log.source import Batch, Progress
from eximcertd.log.zone import zone_of
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from eximcertd.log.line import Grammar

NO_FILE: Final = "there is no such file now"
"""The end of a message that is not a problem: between a rotation and Exim's next line there is no log."""
HOLD: Final = 600.0
"""Seconds that a file which Exim has left is held open for late lines."""
MOST_HELD: Final = 8
MOST_BYTES: Final = 1 << 20
"""Maximum number of bytes of log in one batch."""
MOST_FINGERPRINTS: Final = 2000
FLOOD: Final = 100
"""If a full batch has so many fingerprints, known ones are searched for in what follows. The lines of certificates are
long, so that a batch may be full of bytes before it is full of fingerprints."""
FAR: Final = 64 << 20
LONG: Final = 60.0
"""A position is delivered after so many bytes, or seconds, of reading in which nothing was found."""
_MOST_ROUNDS: Final = 5
_PIECES: Final = 16


class Tailer:
    """A source that follows a file.

    path: absolute; its last part may hold %D or %M. position: what the last batch told, None at the very first
    start: then the log is read from its beginning, and what was rotated before is left alone. files: what the
    batches told of files. known: tells which fingerprints are counted before the others in a flood. timezone:
    Exim's option. floor: seconds between looks when nothing happens. hold: see HOLD. Raises EximcertdError if the
    position cannot be understood.
    """

    def __init__(
        self,
        path: Path,
        grammar: Grammar,
        position: str | None = None,
        files: Iterable[str] = (),
        *,
        known: Callable[[str], bool] = lambda _: False,
        timezone: str = "",
        floor: float = 10.0,
        hold: float = HOLD,
    ) -> None:
        self.timezone = timezone
        self._path = path
        self._known = known
        self._hold = hold
        self._stopped = Event()
        self._names = Names(path)
        self._reader = Reader(grammar, zone_of(timezone), uses=True)
        self._registry = Registry(position, files)
        self._listing = LogListing(path, self._names, self._registry)
        self._rotated = RotatedFiles(path, self._listing, self._registry, self._reader, hold)
        self._work: Generator[int, None, bool] | None = None
        self._watch = LogWatcher(self._stopped, floor, lambda name: self._listing.concerns(os.fsdecode(name)))
        self._log_problem: str | None = None
        self._problem: str | None = None
        self._path_now = str(path)
        self._last: datetime | None = None
        self._beat = 0
        self._consumed = self._delivered = 0
        self._delivered_at = time.monotonic()
        self._found_at: int | None = None

    def batches(self) -> Iterator[Batch]:
        """Follow the log until ``stop``."""
        try:
            while not self._stopped.is_set():
                consumed, end = self._consumed, self._end()
                yield from self.look()
                self._watch.wait(
                    self._listing.directories(self._log()),
                    found=self._consumed != consumed,
                    expected=self._end() != end,
                )
            yield from self._flush(force=True)
        finally:
            self._watch.close()
            self.close()

    def stop(self) -> None:
        """Make ``batches`` end."""
        self._stopped.set()
        self._watch.wake()

    def close(self) -> None:
        """Close all files."""
        if self._work is not None:
            self._work.close()
        for cursor in self._registry.cursors:
            cursor.close()

    def progress(self) -> Progress:
        """Tell how far it is."""
        current, path, problem, lines = self._registry.current, self._path_now, self._problem, self._reader.lines
        behind = self._rotated.behind + sum(cursor.unread() for cursor in self._registry.held() if not cursor.at_end)
        if current is None:
            return Progress(path, 0, behind, self._last, problem, self._beat, lines)
        return Progress(current.name, current.end, behind + current.unread(), self._last, problem, self._beat, lines)

    def look(self) -> Iterator[Batch]:
        """Look once at all files, read everything new, and yield the batches to be stored."""
        self._beat += 1
        self._tell()
        rounds = consumed = 0
        while rounds < _MOST_ROUNDS and not self._stopped.is_set():
            yield from self._read_held()
            turned = self._turn()
            if self._work is None:
                if not (turned or self._listing.has_changed(self._log())):
                    break
                self._work, consumed = self._rotated.catch_up(self._log()), self._consumed
            try:
                self._note(next(self._work))
            except StopIteration as done:
                self._work = None
                again = done.value or turned or self._consumed != consumed
                rounds = rounds + 1 if again else _MOST_ROUNDS
            yield from self._flush()
            self._tell()
        self._registry.let_go(MOST_HELD)
        yield from self._flush()
        self._tell()

    def _log(self) -> Path:
        """Return the path under which Exim writes now; where it is dated and there is none yet, the template."""
        if not self._names.dated:
            return self._path
        if self._listing.dated is None:
            self._listing.take(self._path)
        return self._path.with_name(self._listing.dated or self._path.name)

    def _end(self) -> int:
        return self._registry.current.end if self._registry.current is not None else -1

    def _read_held(self) -> Iterator[Batch]:
        """Read on in the log to its end, and in the other files that are held a part of it."""
        if self._registry.current is not None:
            yield from self._read(self._registry.current)
        for cursor in self._registry.held():
            yield from self._read(cursor, _PIECES)

    def _read(self, cursor: FileCursor, pieces: int = 1 << 40) -> Iterator[Batch]:
        """Read on in a held file; where its content was replaced, begin anew, and look for a copy of the old."""
        try:
            while pieces > 0 and not self._stopped.is_set():
                consumed = self._reader.read(cursor, now=cursor is self._registry.current)
                if consumed is None:
                    self._rotated.look_again(self._registry.add(cursor.replaced()))
                    self._registry.changed = True
                    continue
                if not consumed:
                    break
                self._note(consumed)
                pieces -= 1
                flood = self._is_due() and len(self._reader) >= FLOOD
                if self._is_due() or cursor.end == consumed:  # a scan of the same file may begin while much is read
                    yield self._batch()
                if flood:
                    for _ in self._reader.read_ahead(cursor, self._known):
                        self._beat += 1
                    if len(self._reader):
                        yield self._batch()
        except OSError as error:
            self._log_problem = f"{clean(cursor.name)}: cannot be read: {error.strerror}"
            cursor.close()
            if cursor is self._registry.current:
                self._registry.turn_to(None)

    def _turn(self) -> bool:
        """Check whether another file has the log's name, and follow it."""
        log, current = self._log(), self._registry.current
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

    def _leave(self, cursor: FileCursor) -> None:
        """Hold the file that was the log for late lines; what is left of it is read as those are."""
        self._registry.turn_to(None)
        cursor.until = time.monotonic() + self._hold
        self._registry.learn_olddir(cursor, self._listing.directories(self._log()))
        self._rotated.look_again(cursor)

    def _take_up(self, log: Path, fd: int, status: os.stat_result) -> None:
        """Read on in the file that is the log now, from where it is known, or from its beginning."""
        self._listing.take(log)
        inodes = self._listing.inodes() | {(status.st_dev, status.st_ino)}
        cursor = self._registry.identify(fd, status, str(log), inodes)
        if cursor is None or cursor.fd != fd:
            known, cursor = cursor, FileCursor()
            if known is not None and known.is_copy(fd, os.pread(fd, HEAD_LENGTH, 0), status.st_size):
                cursor = known.continued()  # a copy, while the file itself lies elsewhere
            self._registry.add(cursor).hold(fd, status, str(log))
        self._registry.turn_to(cursor)
        self._rotated.look_again()

    def _note(self, consumed: int) -> None:
        self._beat += 1
        self._consumed += consumed
        if consumed:
            self._last = datetime.now(UTC)
        if len(self._reader) and self._found_at is None:
            self._found_at = self._consumed

    def _is_due(self) -> bool:
        """Tell whether so much was read or found that a batch is to be delivered before more is."""
        if self._found_at is None:
            return self._consumed - self._delivered > FAR
        return self._consumed - self._found_at >= MOST_BYTES or len(self._reader) >= MOST_FINGERPRINTS

    def _flush(self, *, force: bool = False) -> Iterator[Batch]:
        """Deliver the sightings, and the position when it is due; force: in any case."""
        moved = self._consumed != self._delivered
        old = time.monotonic() - self._delivered_at > LONG
        if len(self._reader) or self._registry.changed or self._is_due() or (moved and (force or old)):
            yield self._batch()

    def _batch(self) -> Batch:
        position, files = self._registry.to_store()
        self._found_at = None
        self._delivered, self._delivered_at = self._consumed, time.monotonic()
        return Batch(self._reader.take(), position, files)

    def _tell(self) -> None:
        """Publish the problems to other threads."""
        problems = (
            self._log_problem,
            *self._listing.problems.values(),
            *self._rotated.problems.values(),
            self._watch.problem,
            *self._rotated.lost,
        )
        self._problem = next((problem for problem in problems if problem is not None), None)
        self._path_now = str(self._log())
