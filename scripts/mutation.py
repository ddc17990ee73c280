"""Runs cosmic-ray over a sample of possible changes and prints those that no test noticed; see scripts/mutation.

What changes no behaviour is left out before the sample is drawn: annotations, decorators of dataclasses, and log texts.
A change that was looked at and found to be without effect stands in tests/mutation.toml, with the reason.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import shlex
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS: Final[dict[str, list[str]]] = {
    "decisions": ["tests/decisions", "tests/core", "tests/cli/test_deciding_verbs.py", "tests/end/test_main_job.py"],
    "publication": ["tests/publication", "tests/publish/test_promises_machine.py", "tests/end/test_main_job.py"],
    "publish": ["tests/publish", "tests/end/test_main_job.py"],
    "reload": ["tests/reload", "tests/exim", "tests/end/test_main_job.py"],
    "log": ["tests/log"],
    "maintenance": ["tests/maintenance", "tests/end/test_certificates_over_time.py"],
}
"""Package -> the tests that hold it, those first that end soonest."""

EQUIVALENTS: Final = Path("tests/mutation.toml")
LIMIT: Final = 400
"""Seconds for the tests of one change; what takes longer counts as noticed."""


def run(*command: str) -> str:
    """Run a command and return its standard output."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def without_effect(path: Path) -> list[tuple[int, int]]:
    """Return (first, last) line of each part of a module whose change no test could notice."""
    spans = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            parts = [node.returns, *(argument.annotation for argument in arguments)]
        elif isinstance(node, ast.ClassDef):
            parts = list(node.decorator_list)
        elif isinstance(node, ast.AnnAssign) and node.value is None:
            parts = [node.annotation]
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            spans.append((node.lineno, node.end_lineno or node.lineno))
        spans += [(part.lineno, part.end_lineno or part.lineno) for part in parts if part is not None]
    return spans


def sample(session: Path, most: int, seed: int) -> int:
    """Leave a sample of the changes in the session, and return how many there are to draw from."""
    spans: dict[str, list[tuple[int, int]]] = {}
    with closing(sqlite3.connect(session)) as connection, connection:
        found = connection.execute("SELECT job_id, module_path, start_pos_row FROM mutation_specs").fetchall()
        useful = []
        for job, module, line in sorted(found):
            if module not in spans:
                spans[module] = without_effect(Path(module))
            if not any(first <= line <= last for first, last in spans[module]):
                useful.append((module, line, job))
        useful.sort(key=lambda change: change[:2])
        # The job numbers are random: the sample is of places in the code, so that one seed draws one sample.
        drawn = random.Random(seed).sample(range(len(useful)), min(most or len(useful), len(useful)))  # noqa: S311
        kept = {useful[at][2] for at in drawn}
        for table in ("work_items", "mutation_specs"):
            connection.executemany(
                f"DELETE FROM {table} WHERE job_id = ?",  # noqa: S608 - one of two constants
                [(job,) for job, *_ in found if job not in kept],
            )
    return len(useful)


def results(session: Path) -> Iterator[tuple[str, str, str]]:
    """Yield module, outcome (killed, survived, incompetent) and diff of each change."""
    for line in run(".venv/bin/cosmic-ray", "dump", str(session)).splitlines():
        item, result = json.loads(line)
        if result is not None:
            (mutation,) = item["mutations"]
            yield mutation["module_path"], result["test_outcome"] or "killed", result["diff"] or ""


def equivalents() -> dict[tuple[str, str], str]:
    """Return (module, changed line as it is then) -> why nothing follows from it."""
    if not EQUIVALENTS.exists():
        return {}
    listed: list[dict[str, Any]] = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8")).get("equivalent", [])
    return {(entry["module"], entry["line"].strip()): entry["reason"] for entry in listed}


def mutate(package: str, most: int, seed: int, known: dict[tuple[str, str], str]) -> tuple[int, int]:
    """Run the changes of one package, print what survived, and return how many were tried and how many survived."""
    if not (Path("eximcertd") / package).is_dir():
        sys.exit(f"scripts/mutation: there is no package eximcertd/{package}")
    tests = [path for path in TESTS[package] if Path(path).exists()]
    command = ["timeout", "--kill-after=10", str(LIMIT), ".venv/bin/pytest", "-qx", "-p", "no:cacheprovider", *tests]
    session = Path(f"{package}.sqlite")
    session.unlink(missing_ok=True)
    configuration = Path(f"{package}.toml")
    configuration.write_text(
        f'[cosmic-ray]\nmodule-path = "eximcertd/{package}"\ntimeout = {LIMIT + 20}.0\nexcluded-modules = []\n'
        f"test-command = {json.dumps(shlex.join(command))}\n"
        '[cosmic-ray.distributor]\nname = "local"\n',
        encoding="utf-8",
    )
    run(".venv/bin/cosmic-ray", "init", str(configuration), str(session))
    whole = sample(session, most, seed)
    before = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if before.returncode == 124:  # noqa: PLR2004 - timeout(1)
        sys.exit(f"scripts/mutation: the tests of {package} take more than {LIMIT} s; this machine is too busy")
    if before.returncode != 0:
        sys.exit(f"{before.stdout[-3000:]}\nscripts/mutation: the tests of {package} fail before anything is changed")
    run(".venv/bin/cosmic-ray", "exec", str(configuration), str(session))
    tried = survived = 0
    for module, outcome, diff in results(session):
        changed = next((line[1:].strip() for line in diff.splitlines() if line[:1] == "+" and line[:3] != "+++"), "")
        if (module, changed) in known:
            continue
        tried += 1
        if outcome.endswith("survived"):
            survived += 1
            print(f"\nNot noticed by any test of {package}:\n{diff}")
    print(f"{package}: {tried - survived} of {tried} changes noticed ({whole} possible)", flush=True)
    return tried, survived


def main() -> int:
    """Return 0 if at least 90 % of the changes were noticed."""
    parser = argparse.ArgumentParser(prog="scripts/mutation", description="Which changes does no test notice?")
    parser.add_argument("--sample", type=int, default=40, help="changes of each package; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", choices=[[], *TESTS])
    asked = parser.parse_args()
    known = equivalents()
    tried = survived = 0
    for package in asked.packages or [name for name in TESTS if (Path("eximcertd") / name).is_dir()]:
        one = mutate(package, asked.sample, asked.seed, known)
        tried, survived = tried + one[0], survived + one[1]
    noticed = 100 * (tried - survived) / max(tried, 1)
    print(f"\n{tried - survived} of {tried} changes noticed: {noticed:.1f} %")
    return 0 if noticed >= 90 else 1  # noqa: PLR2004 - the bound that the project has set itself


if __name__ == "__main__":
    sys.exit(main())
