"""The fixture of the tests of the scheduler; see lab/rounds.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.rounds import House

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()
