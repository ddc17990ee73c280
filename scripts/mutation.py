"""Changes the code in one place after another and prints the changes that no test detects; see scripts/mutation.

The operators are those of cosmic-ray, and one that removes a call. First the tests of the package run once, unchanged,
with coverage's contexts: which test reaches which line, also in the processes that it starts. Then each change is tried
with the tests that reach its line, fastest first, until one fails or their share of time is over.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import coverage
import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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

EQUIVALENTS: Final = Path("tests/mutation.toml")
SAME: Final = re.compile(
    r"ReplaceComparisonOperator_(Is_Eq|IsNot_NotEq|Eq_Is|NotEq_IsNot)|ReplaceBinaryOperator_BitOr_(Add|BitXor)"
)
"""Operators whose result is the same for None and enumerations, or for flags without a common bit."""
ALWAYS_FASTEST: Final = 3.0
"""Seconds of tests that are run before the others, in a process of their own."""


class RemoveCall(Operator):  # type: ignore[misc]
    """Replaces a statement that is only a call with ``pass``: cosmic-ray has no operator that removes anything."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """See Operator."""
        if node.type == "simple_stmt":
            call = node.children[0]
            call = call.children[-1] if call.type == "atom_expr" and call.children[0] == "await" else call
            last = call.children[-1] if call.type == "atom_expr" else None
            if last is not None and last.type == "trailer" and last.children[0] == "(":
                yield node.start_pos, call.end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002 - cosmic-ray's signature
        """See Operator."""
        statement = get_ast("pass\n").children[0]
        statement.get_first_leaf().prefix = node.get_first_leaf().prefix
        return statement

    @classmethod
    def examples(cls) -> tuple[()]:
        """See Operator."""
        return ()


plugins.OPERATOR_PROVIDERS["eximcertd"] = {"RemoveCall": RemoveCall}


@dataclass(frozen=True, order=True, slots=True)
class Change:
    """One possible change. lines: first and last line of the statement (or its header) that it is in."""

    module: str
    start: tuple[int, int]
    operator: str
    occurrence: int
    lines: tuple[int, int] = field(compare=False)

    @property
    def place(self) -> tuple[object, ...]:
        """The place and kind: of the changes that replace one operator by another, one is drawn."""
        return self.module, self.start, self.operator.partition("_")[0]


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


def without_effect(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return start and end of each part of a module whose change no test could detect: annotations, dataclass(...)."""
    spans = []
    for node in ast.walk(tree):
        parts: list[ast.expr | ast.stmt | None] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg]
            parts = [node.returns, *(argument.annotation for argument in arguments if argument is not None)]
        elif isinstance(node, ast.ClassDef):
            parts = list(node.decorator_list)
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            parts = [node]
        spans += [_span(part) for part in parts if part is not None]
    return spans


def _span(node: ast.expr | ast.stmt) -> tuple[tuple[int, int], tuple[int, int]]:
    start = (node.lineno, node.col_offset - 1)  # a decorator begins before its expression
    return start, (node.end_lineno or node.lineno, node.end_col_offset or 0)


def _statements(tree: ast.Module) -> dict[int, tuple[int, int]]:
    """Return line -> first and last line of the innermost statement, or of its header."""
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(tree):  # outer statements first
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
            last = node.body[-1].end_lineno if isinstance(node, ast.match_case) else node.end_lineno
            body = getattr(node, "body", None)
            header = max(first, body[0].lineno - 1) if body else last or first
            for line in range(first, (last or first) + 1):
                found[line] = (first, header) if line <= header else found.get(line, (line, line))
    return found


def changes(package: str) -> Iterator[Change]:
    """Yield every change of a package that could be detected."""
    for path in sorted(Path("eximcertd", package).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        spans = without_effect(ast.parse(source))
        statements, lines = _statements(ast.parse(source)), source.split("\n")
        tree = get_ast(source)
        for name in plugins.operator_names():
            kind = plugins.get_operator(name)
            if kind.arguments() or SAME.search(name):
                continue
            operator = kind()
            positions = (where for node in ast_nodes(tree) for where in operator.mutation_positions(node))
            for occurrence, (start, end) in enumerate(positions):
                if "BinaryOperator" in name and not lines[end[0] - 1].startswith(" ", end[1]):
                    continue  # the asterisk of *arguments, or of keyword-only ones
                if not any(first <= start < last for first, last in spans):
                    yield Change(str(path), start, name, occurrence, statements.get(start[0], (start[0], start[0])))


def sample(package: str, most: int, seed: int) -> tuple[list[Change], int]:
    """Return a sample of the changes, one for each place and kind, and the number of places to draw from."""
    chance = random.Random(seed)  # noqa: S311 - one seed draws one sample
    places: dict[tuple[object, ...], list[Change]] = defaultdict(list)
    for change in sorted(changes(package)):
        places[change.place].append(change)
    drawn = chance.sample(sorted(places.values()), min(most or len(places), len(places)))
    return sorted(chance.choice(variants) for variants in drawn), len(places)


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
