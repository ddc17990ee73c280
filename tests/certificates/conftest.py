"""The fixtures of the tests of the certificate directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.certificates import Identity, make

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> list[Identity]:
    """Make five certificates."""
    place = tmp_path_factory.mktemp("some")
    return [make(place, f"client{number}.example") for number in range(5)]


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """Make the directory that is indexed."""
    directory = tmp_path / "certs"
    directory.mkdir()
    return directory
