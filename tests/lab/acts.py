"""Acts to begin with."""

from __future__ import annotations

from typing import Final

from eximcertd.acts.act import FIRST_PREVIOUS, Act
from eximcertd.fingerprint import Fingerprint

X: Final = Fingerprint("11" * 32)
Y: Final = Fingerprint("22" * 32)
REQUEST: Final = "00000000-0000-4000-8000-000000000000"
FIRST: Final = Act(1, FIRST_PREVIOUS, "approve", "alice", 1_700_000_000_000_000, REQUEST, (X, Y))
