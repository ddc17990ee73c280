"""The fixtures of the tests of the scheduler and of enrolment; see lab/rounds.py and lab/enrolments.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.enrolments import Site
from lab.rounds import ScheduledParts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[ScheduledParts]:
    parts = ScheduledParts(tmp_path)
    yield parts
    parts.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.ledger.close()
