"""Root's part stands on the standard library and on the fingerprint, and on nothing else."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import eximcertd

ROOM = Path(eximcertd.__file__).parent / "publish"


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    return names


def test_the_publisher_imports_the_standard_library_and_the_fingerprint_alone() -> None:
    files = sorted(ROOM.glob("*.py"))
    assert len(files) > 5
    for path in files:
        for name in imported(path):
            ours = name == "eximcertd.fingerprint" or name.startswith("eximcertd.publish")
            assert ours or name.partition(".")[0] in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_the_fingerprint_imports_the_standard_library_alone() -> None:
    for name in imported(ROOM.parent / "fingerprint.py") | imported(ROOM.parent / "__init__.py"):
        assert name.partition(".")[0] in sys.stdlib_module_names
