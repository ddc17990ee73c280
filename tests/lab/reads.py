"""How much a piece of work reads: the kernel's own count, so that "reads nothing" can be shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def bytes_read(work: Callable[[], object]) -> int:
    """Return how many bytes this process reads from files while ``work`` runs (rchar of proc(5))."""
    overhead = -_so_far() + _so_far()
    before = _so_far()
    work()
    return _so_far() - before - overhead


def _so_far() -> int:
    return int(Path("/proc/self/io").read_text("ascii").split()[1])
