"""The fixtures of the tests of the control socket: its path, and a twin of eximcertd that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.twins import Twin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a place for the socket."""
    return tmp_path / "control"


@pytest.fixture
def twin(path: Path) -> Iterator[Twin]:
    """Run a twin that lets the user that runs the tests do everything."""
    with Twin(path) as twin:
        yield twin
