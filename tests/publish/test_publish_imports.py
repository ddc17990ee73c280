"""Root's part, with all that it imports: standard library, small, and it runs nothing and signals nobody."""

from __future__ import annotations

import ast
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Final

import pytest

import eximcertd

PACKAGE: Final = Path(eximcertd.__file__).parent
LIST_MODULES: Final = (
    "import sys; import eximcertd.publish.program as p; "
    "print(*sorted(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'eximcertd'), sep='\\n')"
)


def modules() -> list[Path]:
    """Return the files of the package that root's part loads."""
    done = subprocess.run([sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines()]


def code_lines(path: Path) -> int:
    """Return the number of lines of code: no blank lines, comments and docstrings."""
    tree = ast.parse(path.read_text())
    docstrings: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    ignored = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
        tokenize.ENDMARKER,
    }  # fmt: skip
    lines: set[int] = set()
    with path.open("rb") as stream:
        for token in tokenize.tokenize(stream.readline):
            if token.type not in ignored:
                lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    return names


def test_it_has_at_most_700_lines_of_code_and_no_module_over_200() -> None:
    sizes = {path.name: code_lines(path) for path in modules()}
    assert len(sizes) > 5
    assert max(sizes.values()) <= 200, sizes
    assert sum(sizes.values()) <= 700, sizes


def test_it_imports_the_standard_library_the_fingerprint_and_the_settings_alone() -> None:
    ours = {"eximcertd", "eximcertd.fingerprint", "eximcertd.settings"}
    for path in modules():
        for name in imported(path):
            known = name in ours or name.startswith("eximcertd.publish")
            assert known or name.partition(".")[0] in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize("name", ["subprocess", "signal", "socket", "ctypes", "multiprocessing"])
def test_it_loads_nothing_that_runs_programs_or_signals_processes(name: str) -> None:
    for path in modules():
        assert name not in imported(path), path.name
