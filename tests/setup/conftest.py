"""The fixture of the tests of setup; see lab/debian.py. Some files have another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.debian import DebianServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def machine() -> Iterator[DebianServer]:
    """Make a machine with Debian's split configuration."""
    with DebianServer(split=True) as made:
        yield made
