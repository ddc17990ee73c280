"""Changes the code in one place after another and prints the changes that no test detects; see scripts/mutation.

The operators are those of cosmic-ray, and one that removes a call. First the tests of the package run once, unchanged,
with coverage's contexts: which test reaches which line, also in the processes that it starts. Then each change is tried
with the tests that reach its line, fastest first, until one fails or their share of time is over.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cosmic_ray import plugins
from cosmic_ray.mutating import mutate_code
from mutation_changes import sample
from mutation_reach import TESTS, reach, record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mutation_changes import Change
    from mutation_reach import Reach

EQUIVALENTS: Final = Path("tests/mutation.toml")
ALWAYS_FASTEST: Final = 3.0
"""Seconds of tests that are run before the others, in a process of their own."""


def equivalents() -> dict[tuple[str, str], str]:
    """Return (module, line before or after the change) -> why nothing follows from the change."""
    listed: list[dict[str, Any]] = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))["equivalent"]
    return {(entry["module"], entry["line"].strip()): entry["reason"] for entry in listed}


def detected(tests: Sequence[str], limit: float) -> bool:
    """Tell whether one of the tests fails; to take longer than ``limit`` seconds counts as failing."""
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "--no-header", "--tb=no", *tests]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    ) as process:
        try:
            return process.wait(limit) != 0
        except subprocess.TimeoutExpired:
            return True
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def attempt(change: Change, tests: Reach, most: float, known: dict[tuple[str, str], str]) -> str | None:
    """Try one change: return the lines that it replaces and their replacement if no test detects it, "" if one does.

    None: it is listed as equivalent.
    """
    path = Path(change.module)
    before, status = path.read_text(encoding="utf-8"), path.stat()
    after = mutate_code(before, plugins.get_operator(change.operator)(), change.occurrence)
    old, new = before.split("\n"), after.split("\n")
    at = next(number for number, (one, other) in enumerate(zip(old, new, strict=False)) if one != other)
    end = next((n for n in range(min(len(old), len(new)) - at) if old[-1 - n] != new[-1 - n]), 0)
    removed, added = old[at : len(old) - end], new[at : len(new) - end]
    if any((change.module, line.strip()) in known for line in (*removed[:1], *added[:1])):
        return None
    chosen = tests.tests(change, most)
    quick: list[str] = []
    for test in chosen:
        if sum(tests.seconds[one] for one in quick) + tests.seconds[test] > ALWAYS_FASTEST:
            break
        quick.append(test)
    path.write_text(after, encoding="utf-8")
    try:
        for these in (quick, chosen[len(quick) :]):
            if these and detected(these, 60 + 10 * sum(tests.seconds[one] for one in these)):
                return ""
    finally:
        path.write_text(before, encoding="utf-8")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    lines = [f"{change.module}:{at + 1} ({change.operator.partition('/')[2]}; tests tried: {len(chosen)})"]
    return "\n".join([*lines, *(f"-{line}" for line in removed), *(f"+{line}" for line in added)])


def mutate(package: str, options: argparse.Namespace) -> tuple[int, int]:
    """Try the changes of one package, print what survived, and return how many were tried and how many detected."""
    known = equivalents()
    tests = reach(package)
    for name in tests.failed:
        print(f"{package}: left out, as it fails or is skipped before anything is changed: {name}")
    drawn, possible = sample(package, options.sample, options.seed)
    tried = killed = 0
    for change in drawn:
        survivor = attempt(change, tests, options.seconds, known)
        if survivor is None:
            continue
        tried, killed = tried + 1, killed + (survivor == "")
        if survivor:
            print(f"\n{package}: killed {killed} of {tried} so far; not detected:\n{survivor}", flush=True)
    print(
        f"\n{package}: killed {killed} of {tried} (seed {options.seed}; {len(drawn) - tried} equivalents drawn;"
        f" {possible} places)",
        flush=True,
    )
    return tried, killed


def main() -> int:
    """Return 0 if at least 90 % of the changes were detected."""
    parser = argparse.ArgumentParser(prog="scripts/mutation", description="Which changes does no test detect?")
    parser.add_argument("--sample", type=int, default=60, help="changes of each package; 0: all (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="another sample")
    parser.add_argument("--seconds", type=float, default=40, help="of tests for one change (default: 40)")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(TESTS)} (default: all)")
    options = parser.parse_args()
    if options.record:
        return record(options.record, options.packages)
    if unknown := [name for name in options.packages if name not in TESTS]:
        parser.error(f"no such package: {', '.join(unknown)}")
    results = [mutate(package, options) for package in options.packages or TESTS]
    tried, killed = (sum(numbers) for numbers in zip(*results, strict=True))
    print(f"\nkilled {killed} of {tried}: {100 * killed / max(tried, 1):.1f} %")
    return 0 if killed * 10 >= tried * 9 else 1


if __name__ == "__main__":
    sys.exit(main())
