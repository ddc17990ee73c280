"""What a question to the ledger costs does not grow with entries that do not concern it, in SQLite's own steps."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from lab.deciding import decide

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.ledger.authorities import Enrolment
from eximcertd.ledger.identities import Identity
from eximcertd.log.sighting import Sighting
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AUTHORITY = Fingerprint("A" * 64)
MANY, EACH = 2000, 10


class Steps:
    """Counts the steps of SQLite's virtual machine, in tens."""

    def __init__(self) -> None:
        self.number = 0

    def count(self) -> int:
        self.number += 1
        return 0

    def of(self, work: Callable[[], object]) -> int:
        before = self.number
        work()
        return self.number - before


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps, connect = Steps(), sqlite3.connect

    def connected(*arguments: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]
        connection.set_progress_handler(steps.count, EACH)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connected)
    return steps


@pytest.fixture
def ledger(steps: Steps, tmp_path: Path) -> Iterator[Ledger]:
    assert steps.number == 0
    ledger = Ledger(tmp_path)
    yield ledger
    ledger.close()


def names(start: int) -> list[Fingerprint]:
    return [Fingerprint(f"{number:064X}") for number in range(start, start + MANY)]


def approve(ledger: Ledger, start: int, ends: int) -> None:
    """Approve many as a person does."""
    decide(ledger, Verb.APPROVE, *names(start))
    ledger.identities.keep([Identity(one, one, one, one, ends) for one in names(start)])


def enrol(ledger: Ledger, ends: int) -> None:
    """Approve many as an authority does."""
    ledger.sightings.record("file", "1", [Sighting(one, 1, 1, 1) for one in names(0)], lambda _: True)
    identities = [Identity(one, one, one, one, ends) for one in names(0)]
    ledger.authorities.enrol([Enrolment(AUTHORITY, 1, (), one) for one in identities], 1)


@pytest.mark.parametrize("by", ["a person", "an authority"])
def test_what_has_ended_before_is_not_read_again_for_what_ends_now(ledger: Ledger, steps: Steps, by: str) -> None:
    if by == "a person":
        approve(ledger, 0, ends=100)
    else:
        enrol(ledger, ends=100)
    assert steps.of(lambda: ledger.lapses.derive(100)) > MANY / EACH
    approve(ledger, MANY, ends=300)
    assert steps.of(lambda: ledger.lapses.derive(200)) < MANY / EACH
    assert ledger.lapses.derive(200) == ([], [], False)


def test_what_an_authority_has_approved_is_not_read_for_what_people_have_approved(ledger: Ledger, steps: Steps) -> None:
    enrol(ledger, ends=100)
    ledger.lapses.derive(100)
    assert steps.of(lambda: ledger.lapses.ended(None, 200)) < MANY / EACH
    approve(ledger, MANY, ends=100)
    assert steps.of(lambda: ledger.lapses.ended(None, 200)) > MANY / EACH


def test_the_certificates_that_clients_have_shown_are_not_looked_for_among_all_that_are_approved(
    ledger: Ledger, steps: Steps
) -> None:
    approve(ledger, 0, ends=100)
    assert steps.of(ledger.shown.approved) < MANY / EACH
