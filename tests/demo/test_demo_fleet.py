"""scripts/demo fleet: two relays, one queue, an outage and its end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).parents[2]


def test_the_demo_of_a_fleet_sees_every_step_and_leaves_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="stage-", dir="/tmp") as stage:
        Path(stage).chmod(0o755)  # Exim's user reaches what lies below
        summary = played(stage)
        assert list(Path(stage).iterdir()) == []
    for sentence in (
        "one queue has what both relays refused",
        "mx2 relays for laptop.alice.example",
        "revoked on mx2 at once, and the fleet does not know it yet",
        "mx2 relays for laptop.bob.example",
        "the revocation of one relay is the fleet's now",
    ):
        assert sentence in summary


def played(stage: str) -> str:
    """Play the demo, and return what was seen."""
    environment = {**os.environ, "PYTHONPATH": str(TREE / "tests"), "TMPDIR": stage}
    command = [sys.executable, str(TREE / "scripts/demo_fleet.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.partition("What was seen")[2]
