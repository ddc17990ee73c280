"""The fixtures of the tests of eximcertctl: a twin of the daemon, and the options that lead to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from lab.twins import Twin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    """Run a twin of the daemon."""
    with Twin(tmp_path / "control") as twin:
        yield twin


@pytest.fixture
def at(twin: Twin) -> tuple[str, str]:
    """Give the options that lead to the twin."""
    return ("--socket", str(twin.path))


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Show times in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
