"""A publication that did not succeed is tried again: later and later, or as soon as a file of Exim's changes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from eximcertd.publication import retry
from eximcertd.publication.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Calls:
    """What is tried again, and how often it was."""

    def __init__(self) -> None:
        self.made = 0

    async def __call__(self) -> None:
        self.made += 1


async def until(condition: Callable[[], object]) -> None:
    """Wait for what is bound to happen."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


def test_each_pause_is_twice_as_long_up_to_an_hour_and_after_a_success_the_first_one_again() -> None:
    async def run() -> None:
        waiting, calls = Retry(), Calls()

        def pause() -> int:
            return round((waiting.schedule(calls) - time.time()) / 10) * 10

        assert [pause() for _ in range(9)] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
        assert waiting.waiting
        waiting.cancel()
        assert (waiting.waiting, pause()) == (False, 3600)
        waiting.reset()
        assert pause() == 30
        waiting.cancel()
        assert calls.made == 0

    asyncio.run(run())


def test_it_is_tried_once_after_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.02)

    async def run() -> None:
        waiting, calls = Retry(), Calls()
        for _ in range(2):
            waiting.schedule(calls)  # the second one replaces the first
        await until(lambda: calls.made)
        assert (calls.made, waiting.waiting) == (1, False)

    asyncio.run(run())


CHANGES: dict[str, Callable[[Path], object]] = {
    "appended to": lambda path: path.write_text("ab"),
    "replaced": lambda path: path.with_name("fresh").rename(path),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_is_tried_as_soon_as_a_watched_file_changes_and_then_with_the_first_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(retry, "_LOOK_EVERY", 0.01)
    watched, fresh, absent = (tmp_path / name for name in ("exim.conf", "fresh", "absent"))
    for path in (fresh, watched):
        path.write_text("a")

    async def run() -> None:
        waiting, calls = Retry([absent, watched]), Calls()
        waiting.schedule(calls)
        waiting.schedule(calls)
        looks = 0

        def looked() -> bool:
            nonlocal looks
            looks += 1
            return looks > 10

        await until(looked)
        assert calls.made == 0
        change(watched)
        await until(lambda: calls.made)
        assert round(waiting.schedule(calls) - time.time()) in range(25, 31)
        waiting.cancel()

    asyncio.run(run())
