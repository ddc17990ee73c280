"""What every benchmark shares: a row of the table, the quick mode, and a few ways to put figures.

A subject is a module of this directory with ``def rows() -> Iterator[Row]``; its docstring's first line is
its table's heading. ``scripts/bench [--quick] [SUBJECT...]`` runs each in a process of its own and prints the
tables that docs/benchmarks.md keeps. Rows are printed as they are yielded.
"""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    work: what was done. figure: what it cost, with its unit, better as a ratio against something measured in
    the same run. bound: what it may cost at most, "" for none. met: None where there is no bound, or where
    the quick mode measured too little to tell.
    """

    work: str
    figure: str
    bound: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        """Return the line in Markdown."""
        met = "" if self.met is None else "yes" if self.met else "**no**"
        return f"| {self.work} | {self.figure} | {self.bound} | {met} |"


def quick() -> bool:
    """Tell whether only a glance is wanted (``--quick``): the same work, less of it."""
    return os.environ.get("BENCH_QUICK") == "1"


def scaled(full: int, glance: int) -> int:
    """Return how much work to do: ``full``, or ``glance`` in the quick mode."""
    return glance if quick() else full


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the sample below which at least ``share`` of all samples lie (the nearest rank, 0.99 for p99)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def milliseconds(samples: Sequence[float]) -> str:
    """Put seconds as "median 1.2 ms, p99 3.4 ms (200)"."""
    middle, late = 1000 * statistics.median(samples), 1000 * quantile(samples, 0.99)
    return f"median {middle:.2f} ms, p99 {late:.2f} ms ({len(samples)})"
