"""Which tests reach which lines of a package; a part of scripts/mutation."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import coverage
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mutation_changes import Change

TESTS: Final[dict[str, tuple[str, ...]]] = {
    "decisions": (
        "tests/decisions",
        "tests/core",
        *(f"tests/maintenance/test_{name}.py" for name in ("enrolling", "withdrawal", "denials", "crls")),
    ),
    "publish": ("tests/publish",),
    "maintenance": ("tests/maintenance",),
    "publication": ("tests/publication",),
    "reload": ("tests/reload",),
    "log": ("tests/log",),
}
"""Package -> the tests that have to hold it. Those of the whole program hold it too, and are too slow to be tried."""
SLOW: Final = re.compile(
    r"machine|everywhere|full_disk|unprivileged|hostile|publishing|switching|imports|h_manual|d_manual|race|forged|fuzz|killed|scan_command"
)
"""Files of tests that are left out for the same reason; most of them start an Exim for each test."""


@dataclass(slots=True)
class Reach:
    """Which tests reach which lines. seconds: of each test that passes unchanged. lines: module -> line -> tests."""

    seconds: dict[str, float]
    failed: list[str]
    lines: dict[str, dict[int, list[str]]]

    def tests(self, change: Change, most: float) -> list[str]:
        """Return the tests to try, fastest first, that together take at most so many seconds."""
        reached = self.lines.get(change.module, {})
        wanted = {test for line in range(change.lines[0], change.lines[1] + 1) for test in reached.get(line, ())}
        if "" in wanted or not wanted:  # reached when the module is imported: any test that runs code of it
            wanted = {test for tests in reached.values() if "" not in tests for test in tests}
        wanted &= self.seconds.keys()
        # what a fixture of the whole file does is counted for its first test alone
        files = {test.partition("::")[0] for test in wanted}
        others = {test for test in self.seconds if test.partition("::")[0] in files} - wanted
        chosen: list[str] = []
        left = most
        for test in [*sorted(wanted, key=self._order), *sorted(others, key=self._order)]:
            left -= self.seconds[test]
            if left < 0 and chosen:
                break
            chosen.append(test)
        return chosen

    def _order(self, test: str) -> tuple[float, str]:
        return self.seconds[test], test


class Recorder:
    """pytest's plugin that tells coverage, here and in the processes that a test starts, which test runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Switch the context."""
        os.environ["MUTATION_TEST"] = nodeid
        measured = coverage.Coverage.current()
        if measured is not None:
            measured.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up durations."""
        self.seconds[report.nodeid] += report.duration
        if report.outcome != "passed":
            self.failed.add(report.nodeid)


def record(output: Path, tests: Sequence[str]) -> int:
    """Run the tests unchanged (in a process under coverage), and write their durations."""
    recorder = Recorder()
    status = pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[recorder])
    kept = {test: round(seconds, 3) for test, seconds in recorder.seconds.items() if test not in recorder.failed}
    output.write_text(json.dumps({"seconds": kept, "failed": sorted(recorder.failed)}), encoding="utf-8")
    return 0 if status in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED} else int(status)


def reach(package: str) -> Reach:
    """Return which tests reach which lines; kept until the code, a test's file or the tests' helpers change."""
    directory = Path("reach").absolute()
    stamps = directory / "stamps.json"
    code = _digest([*Path("eximcertd").rglob("*.py"), *Path("tests/lab").glob("*.py")])
    known = json.loads(stamps.read_text(encoding="utf-8")) if stamps.exists() else {}
    if known.get("") != code:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        directory.chmod(0o1777)  # eximcertd-reload becomes Exim's user, and its coverage is written at its end
        known = {"": code}
    tops = map(Path, TESTS[package])
    paths = (file for top in tops for file in ([top] if top.is_file() else sorted(top.rglob("test_*.py"))))
    files = [str(file) for file in paths if not SLOW.search(file.name)]
    data_file, told = directory / f"data-{len(known)}", directory / f"tests-{len(known)}.json"
    settings = directory / "coveragerc"
    settings.write_text(
        f"[run]\nparallel = true\nsigterm = true\nsource = {Path('eximcertd').absolute()}\n"
        f"context = ${{MUTATION_TEST-}}\ndata_file = {data_file}\ndisable_warnings = no-data-collected\n",
        encoding="utf-8",
    )
    if new := [file for file in files if known.get(file) != _digest([Path(file)])]:
        print(f"{package}: running {len(new)} files of tests unchanged", flush=True)
        command = [sys.executable, "scripts/mutation.py", "--record", str(told), *new]
        subprocess.run(command, check=True, env={**os.environ, "COVERAGE_PROCESS_START": str(settings)})
        measured = coverage.Coverage(config_file=str(settings))
        measured.combine([str(directory)])
        measured.save()
        known.update({file: _digest([Path(file)]) for file in new})
        stamps.write_text(json.dumps(known), encoding="utf-8")
    seconds: dict[str, float] = {}
    failed: set[str] = set()
    for path in directory.glob("tests-*.json"):
        told_then = json.loads(path.read_text(encoding="utf-8"))
        seconds.update({test: took for test, took in told_then["seconds"].items() if test.partition("::")[0] in files})
        failed.update(test for test in told_then["failed"] if test.partition("::")[0] in files)
    lines: dict[str, dict[int, list[str]]] = {}
    for path in directory.glob("tests-*.json"):
        data = coverage.CoverageData(str(directory / path.stem.replace("tests", "data")))
        data.read()
        for file in data.measured_files():
            of = lines.setdefault(str(Path(file).relative_to(Path.cwd())), defaultdict[int, list[str]](list))
            for line, found in data.contexts_by_lineno(file).items():
                of[line] += [test.partition("|")[0] for test in found]
    return Reach(seconds, sorted(failed), {module: dict(of) for module, of in lines.items()})


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
