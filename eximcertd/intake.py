"""From the log reader's thread to the ledger.

A batch is stored in one transaction before the reader goes on. Where the ledger cannot store it (a full
disk), the reader waits and the same batch is tried again: nothing is lost and nothing counted twice.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from eximcertd.errors import EximcertdError
from eximcertd.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from eximcertd.certificates.index import Index
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.log.sighting import Sighting
    from eximcertd.log.source import Batch, Progress, Source

_PAUSE: Final = 5.0
_JOIN: Final = 5.0


class Stopped(Exception):  # noqa: N818 - no error: the reader is asked to end
    """The daemon stops; a batch that was not stored is read again at the next start."""


class Intake:
    """Runs a source in a thread and stores what it delivers. name: under which the ledger keeps its position.

    seen: called in the loop with fingerprints that are new in the queue. shown: these are called in the loop with the
    sightings that brought a certificate, after they were stored: known certificates and decided ones too.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        ledger: Ledger,
        *,
        index: Index,
        recorder: Recorder,
        seen: Callable[[Sequence[Fingerprint]], None],
    ) -> None:
        self.name: Final = name
        self.source: Final = source
        self._ledger = ledger
        self._index = index
        self._recorder = recorder
        self._seen = seen
        self.shown: Final[list[Callable[[Sequence[Sighting]], None]]] = []
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._waits = 0
        self._trouble: str | None = None
        self._ended: str | None = None
        self._thread = threading.Thread(target=self._run, name="log reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    async def stop(self) -> None:
        """End the reader; the batches that it has delivered are stored."""
        self._stopping.set()
        self.source.stop()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, _JOIN)

    def beat(self) -> int:
        """Return a number that grows as long as the reader makes progress, or waits for a disk."""
        return self.source.progress().beat + self._waits

    def progress(self) -> Progress:
        """Return how far the source is, with the problem of the ledger or of the reader."""
        progress = self.source.progress()
        return replace(progress, problem=self._ended or self._trouble or progress.problem)

    def _run(self) -> None:
        try:
            for batch in self.source.batches():
                self._deliver(batch)
        except (Stopped, CancelledError):
            pass
        except EximcertdError as error:
            self._end(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be told; the watchdog restarts us
            self._end(f"the log reader failed: {type(error).__name__}: {error}")

    def _end(self, why: str) -> None:
        self._ended = why
        self._loop.call_soon_threadsafe(self._recorder.record, Event.LOG_PROBLEM, f"The log is not read: {why}")

    def _deliver(self, batch: Batch) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run_coroutine_threadsafe(self._store(batch), self._loop).result()
            except EximcertdError as error:
                if self._trouble is None:
                    self._loop.call_soon_threadsafe(self._recorder.record, Event.LOG_PROBLEM, str(error))
                self._trouble = str(error)
                self._waits += 1
                self._stopping.wait(_PAUSE)
                continue
            except RuntimeError:
                raise Stopped from None  # the loop is gone
            if self._trouble is not None:
                self._trouble = None
                self._loop.call_soon_threadsafe(
                    self._recorder.record, Event.LOG_BACK, "The ledger stores what the log tells again"
                )
            return
        raise Stopped

    async def _store(self, batch: Batch) -> None:
        fresh = self._ledger.sightings.record(
            self.name,
            batch.position,
            batch.sightings,
            self._index.__contains__,
            files=batch.files,
            now=time.time_ns() // 1_000_000,
        )
        if fresh:
            self._loop.call_soon(self._seen, fresh)  # later: the batch is stored even if this fails
        shown = [sighting for sighting in batch.sightings if sighting.certificate is not None]
        for watcher in self.shown if shown else ():
            self._loop.call_soon(watcher, shown)


def milliseconds(at: datetime | None) -> int | None:
    """Return an aware time as the ledger keeps it."""
    return None if at is None else int(at.timestamp() * 1000)
