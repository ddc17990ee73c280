"""Imports run one way through the package; pyproject.toml has the order, and import-linter checks it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINTER, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False)


def test_no_module_imports_upwards() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("fingerprint.py", "from eximcertd import config"),
        ("control/client.py", "from eximcertd.control.methods import services"),
        ("ledger/store.py", "def late() -> None:\n    import eximcertd.daemon"),
        ("helpers.py", "NEW = True"),
    ],
)
def test_an_import_upwards_or_a_module_without_a_place_would_be_found(tmp_path: Path, module: str, line: str) -> None:
    shutil.copytree(ROOT / "eximcertd", tmp_path / "eximcertd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "eximcertd" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout
    assert f"eximcertd.{module.removesuffix('.py').replace('/', '.')}" in done.stdout.replace("\n", "")
