"""Times that the calendar of the local zone does not have: a stranger can put them into a certificate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from lab.ctl import ctl
from lab.entries import ALICE, certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.twins import Twin


@pytest.fixture(params=["EAST-9", "WEST9"])
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Show times in a zone nine hours from UTC."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize("verb", [("pending", "--long"), ("show", ALICE), ("reject", ALICE)])
def test_a_certificate_without_an_end_or_a_beginning_is_shown(
    twin: Twin, at: tuple[str, str], verb: tuple[str, ...]
) -> None:
    twin.see(ALICE, certificate("CN=x", not_before="0001-01-01T00:00:00Z", not_after="9999-12-31T23:59:59Z"))
    done = ctl(*at, *verb)
    assert done.status == 0, done.err
    assert "9999-12-31" in done.out
