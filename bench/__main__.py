"""Runs the benchmarks: python -m bench [--quick] [SUBJECT...]."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
NO_SUBJECTS: Final = {"__main__", "__init__", "harness"}


def subjects() -> list[str]:
    """Return the subjects there are, sorted."""
    return sorted(
        path.stem
        for path in HERE.glob("*.py")
        if path.stem not in NO_SUBJECTS and "def rows(" in path.read_text(encoding="utf-8")
    )


def measure(subject: str) -> bool:
    """Print one subject's table, row by row, and tell whether no bound was missed."""
    module = importlib.import_module(f"bench.{subject}")
    print(f"\n### {(module.__doc__ or subject).splitlines()[0].rstrip('.')}\n")
    print(f"`./scripts/bench {subject}`\n")
    print("| work | figure | bound | met |\n|---|---|---|---|", flush=True)
    good = True
    for row in module.rows():
        print(row, flush=True)
        good = good and row.met is not False
    return good


def machine() -> str:
    """Return what the figures were measured on, in one line."""
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{system}, Python {platform.python_version()}, {os.cpu_count()} cores"


def main() -> int:
    """Run what was asked for; each of several subjects in a process of its own."""
    known = subjects()
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure eximcertd.")
    parser.add_argument("--quick", action="store_true", help="a glance at every row instead of the full work")
    parser.add_argument("subject", nargs="*", help=f"one or more of: {', '.join(known)}; all where none is given")
    asked = parser.parse_args()
    unknown = [name for name in asked.subject if name not in known]
    if unknown:
        parser.error(f"no such subject: {', '.join(unknown)}; there are {', '.join(known)}")
    if asked.quick:
        os.environ["BENCH_QUICK"] = "1"
    if "BENCH_ALONE" in os.environ:
        return 0 if measure(asked.subject[0]) else 1
    print(f"{machine()}{' (quick)' if asked.quick else ''}", flush=True)
    alone = {**os.environ, "BENCH_ALONE": "1"}
    chosen = asked.subject or known
    done = {name: subprocess.run([sys.executable, "-m", "bench", name], check=False, env=alone) for name in chosen}
    missed = [name for name, process in done.items() if process.returncode != 0]
    if missed:
        print(f"\nA bound was missed, or the measurement failed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
