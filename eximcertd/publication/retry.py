"""When a publication that did not succeed is tried again: on a timer that backs off, and when Exim's files change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

FIRST: Final = 30.0
"""Seconds until the first retry; each further one waits twice as long."""
LONGEST: Final = 3600.0
_LOOK_EVERY: Final = 5.0


class Retry:
    """The timer of a publication that waits. watched: files whose change may correct what Exim refused."""

    def __init__(self, watched: Sequence[Path] = ()) -> None:
        self._watched = watched
        self._pause = FIRST
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> bool:
        """Tell whether a publication waits to be tried again."""
        return self._task is not None

    def schedule(self, publish: Callable[[], Awaitable[object]]) -> float:
        """Call ``publish`` after a pause; return when, in seconds since the epoch. Replaces what was scheduled."""
        self.cancel()
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST)
        self._task = asyncio.get_running_loop().create_task(self._wait(pause, publish))
        return time.time() + pause

    def cancel(self) -> None:
        """Forget what was scheduled; the pause stays."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def reset(self) -> None:
        """Begin with the shortest pause again: a publication has succeeded."""
        self._pause = FIRST

    async def _wait(self, pause: float, publish: Callable[[], Awaitable[object]]) -> None:
        loop = asyncio.get_running_loop()
        end, before = loop.time() + pause, _signature(self._watched)
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, _LOOK_EVERY))
            if _signature(self._watched) != before:
                self.reset()
                break
        self._task = None  # what publishes cancels the timer, and must not cancel itself
        await publish()


def _signature(paths: Iterable[Path]) -> tuple[int, ...]:
    found: list[int] = []
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            found += (status.st_ino, status.st_size, status.st_mtime_ns)
    return tuple(found)
