"""The wheel, built once for the tests of what is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")


@pytest.fixture(scope="session")
def pip_install(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the wheel; return the command that installs it, without its options that say where."""
    directory = str(tmp_path_factory.mktemp("wheel"))
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", directory, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, cwd=directory)
    assert done.returncode == 0, done.stderr
    return [*PIP, "install", "--no-deps", "--no-index", "--find-links", directory, "--ignore-installed", "eximcertd"]
