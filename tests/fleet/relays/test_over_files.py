"""Three relays with real Exims on hosts of their own; what they share is a directory of files on the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.mx import Relays
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.certificates import Identity


@pytest.fixture
def relays(tmp_path: Path, alice: Identity, mallory: Identity) -> Iterator[Relays]:
    tmp_path.chmod(0o755)
    with Relays(tmp_path, [alice, mallory]) as running:
        yield running


def test_a_client_that_one_relay_refused_is_approved_once_and_relays_everywhere(
    relays: Relays, alice: Identity, mallory: Identity
) -> None:
    mx1, mx2, mx3 = relays
    mx2.refused(alice)
    until(lambda: alice.fingerprint in relays.ctl(mx1, "fleet", "pending", "--json").stdout, "the queue has it")
    done = relays.ctl(mx1, "approve", alice.fingerprint[:16], "--wait", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [mx.relays(alice) for mx in relays] == [True, True, True]
    assert not mx3.relays(mallory)
