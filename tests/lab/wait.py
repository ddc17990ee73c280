"""Waiting for something that is bound to happen, with a limit and without a fixed sleep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, *, limit: float = 10.0, pause: float = 0.005) -> T:
    """Ask ``condition`` again and again until its answer is true, and return that answer.

    pause: seconds before the second look; it doubles up to 0.1. Raises AssertionError after ``limit``
    seconds, with ``what`` (a clause, "the daemon answers") and the last answer.
    """
    end = time.monotonic() + limit
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit:g} s in vain until {what}; the last answer was {answer!r}")
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
