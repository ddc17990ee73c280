"""The fixture of the tests of a publication; see lab/publication_parts.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

from lab.publication_parts import PublicationParts


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[PublicationParts]:
    parts = PublicationParts(tmp_path)
    yield parts
    parts.ledger.close()
