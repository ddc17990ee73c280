"""What eximcertctl scan does: reads old logs, and hands what it finds to eximcertd, which counts nothing twice.

Light to import: the start is a good part of what a scan costs.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from eximcertd.errors import EximcertdError, NoAnswerError
from eximcertd.log.backlog import Backlog
from eximcertd.log.segment import from_json
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from eximcertd.control.client import Client
    from eximcertd.log.backlog import Portion
    from eximcertd.log.line import Grammar, Peer
    from eximcertd.log.segment import Segment
    from eximcertd.log.source import Sighting

MOST_KEPT: Final = 10_000
"""Fingerprints that are kept to be shown; attempts of more are counted all the same."""

_LONGEST_TEXT: Final = 400
_TRIES: Final = 5
_REDRAW: Final = 0.1


class Found:
    """What the scan found of one fingerprint."""

    __slots__ = ("attempts", "first", "last", "peer")

    def __init__(self) -> None:
        self.attempts = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.peer: Peer | None = None

    def add(self, sighting: Sighting) -> None:
        """Count more attempts."""
        self.attempts += sighting.attempts
        if sighting.first is not None and (self.first is None or sighting.first < self.first):
            self.first = sighting.first
        if sighting.last is not None and (self.last is None or sighting.last > self.last):
            self.last = sighting.last
        self.peer = sighting.peer or self.peer


class Scan:
    """Reads files and adds what they hold. client: None for a dry run.

    After ``run``: attempts, of found fingerprints (others: how many fingerprint entries were beyond MOST_KEPT);
    problems: what could not be read, a sentence each; size: bytes of the files, as they lie there.
    """

    def __init__(self, grammar: Grammar, client: Client | None, known: dict[str, str], bar: Bar) -> None:
        self._grammar = grammar
        self._client = client
        self._kept = known
        self._bar = bar
        self.found: dict[str, Found] = {}
        self.attempts = 0
        self.others = 0
        self.size = 0
        self.problems: list[EximcertdError] = []

    def run(self, files: Sequence[str]) -> None:
        """Read the files, one after the other. Raises what the daemon answers."""
        for path in files:
            for _ in range(_TRIES):
                backlog = Backlog(self._grammar, [from_json(json.loads(text)) for text in self._kept.values()])
                if self._file(path, self._portions(path, backlog)):
                    break
                self._kept = segments(self._client)  # somebody else counted in the same file: see what is left
            else:
                self.problems.append(EximcertdError(f"{path}: others keep counting in it", hint="scan it again"))

    def _file(self, path: str, portions: Iterator[Portion]) -> bool:
        """Read one file; False: what was found cannot be added, since more of it was counted meanwhile."""
        size = 0
        for portion in portions:
            self._bar.show(path, portion.read, portion.size)
            size = portion.size
            if portion.segment is None:
                continue
            if not self._record(portion.segment, portion.sightings):
                return False
            for sighting in portion.sightings:
                self._keep(sighting)
        self.size += size
        return True

    def _portions(self, path: str, backlog: Backlog) -> Iterator[Portion]:
        try:
            yield from backlog.read(path)
        except EximcertdError as error:
            self.problems.append(error)

    def _record(self, segment: Segment, sightings: Sequence[Sighting]) -> bool:
        text = json.dumps(segment.to_json())
        if self._client is not None:
            answer = self._client.call(
                "Record",
                {
                    "segment": text,
                    "before": self._kept.get(segment.key),
                    "sightings": [to_json(sighting.fingerprint, sighting) for sighting in sightings],
                },
            )
            if answer["added"] is None:
                return False
        self._kept[segment.key] = text
        return True

    def _keep(self, sighting: Sighting) -> None:
        self.attempts += sighting.attempts
        found = self.found.get(sighting.fingerprint)
        if found is None:
            if len(self.found) >= MOST_KEPT:
                self.others += 1
                return
            found = self.found[sighting.fingerprint] = Found()
        found.add(sighting)


class Bar:
    """A progress bar on a terminal; nothing anywhere else. total: bytes of all files."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._seen = stream.isatty()
        self._begun = time.monotonic()
        self._drawn = 0.0
        self._path = ""
        self._before = self._done = self._length = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no trace."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def show(self, path: str, done: int, size: int) -> None:
        """Tell how far a file is read, in bytes of the file as it lies there."""
        if not self._seen:
            return
        if path != self._path:
            self._before += self._length
            self._path = path
        self._done, self._length = self._before + min(done, size), size
        now = time.monotonic()
        if now - self._drawn >= _REDRAW:
            self._drawn = now
            self._stream.write("\r" + self._line(now - self._begun) + "\x1b[K")
            self._stream.flush()

    def _line(self, seconds: float) -> str:
        total = max(self._total, self._done, 1)
        share = self._done / total
        rate = self._done / max(seconds, 1e-3)
        left = round((total - self._done) / max(rate, 1))
        filled = round(20 * share)
        name = shown(self._path.rpartition("/")[2], 20)
        return (
            f"{name} [{'#' * filled}{' ' * (20 - filled)}] {share:4.0%} {_bytes(self._done)} of {_bytes(total)}, "
            f"{_bytes(rate)}/s, {left // 60}:{left % 60:02} left"
        )


def segments(client: Client | None) -> dict[str, str]:
    """Return what was counted of log files, as key -> JSON text. Raises EximcertdError."""
    if client is None:
        return {}
    kept: dict[str, str] = {}
    for portion in client.stream("Segments"):
        for text in portion["segments"]:
            segment = from_json(json.loads(text))
            kept[f"live {len(kept)}" if segment.live else segment.key] = text
    return kept


def known_to(client: Client, *, dry_run: bool) -> dict[str, str]:
    """Return what was counted of log files; for a dry run eximcertd need not answer. Raises EximcertdError."""
    try:
        return segments(client)
    except NoAnswerError:
        if not dry_run:
            raise
        sys.stderr.write("eximcertctl: eximcertd does not answer: what it has counted before is not left out\n")
        return {}


def to_json(fingerprint: str, found: Found | Sighting) -> dict[str, Any]:
    """Return what was found of a fingerprint, as the control socket takes it and --json prints it."""
    peer = found.peer
    return {
        "fingerprint": fingerprint,
        "attempts": found.attempts,
        "first_seen": _time(found.first),
        "last_seen": _time(found.last),
        "from": None
        if peer is None
        else {name: getattr(peer, name)[:_LONGEST_TEXT] for name in ("host", "helo", "sender", "recipient")},
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:  # noqa: PLR2004 - the step between the units
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
