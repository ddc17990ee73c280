"""Decisions as a person makes them, for tests that have a ledger and no daemon."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from eximcertd.decisions.decide import Decider, Outcome
from eximcertd.decisions.rules import OPTIONS
from eximcertd.decisions.sources import by_person
from lab.records import Records

if TYPE_CHECKING:
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger import Ledger
    from eximcertd.status import Verb


def decide(ledger: Ledger, verb: Verb, *fingerprints: Fingerprint, request: str = "", at: int | None = None) -> Outcome:
    """Decide as alice, who insists on everything. at: ms since the epoch, else now."""
    now = time.time_ns() // 1_000_000 if at is None else at
    request = request or str(uuid.uuid4())
    return Decider(ledger, Records()).decide(
        by_person(verb, fingerprints, "alice", now, request=request, note="note", insist=OPTIONS)
    )
