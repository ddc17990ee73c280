"""Every standing x verb has a defined answer."""

from __future__ import annotations

import pytest

from eximcertd.status import OF_AUTHORITIES, TABLE, Becomes, Refusal, Status, Verb, after

EXPECTED = {
    #            see         approve     reject      revoke     adopt
    "unseen": ("pending", "approved", "rejected", None, "approved"),
    "pending": ("pending", "approved", "rejected", None, "approved"),
    "approved": ("approved", "approved", None, "revoked", "approved"),
    "rejected": ("rejected", "approved", "rejected", None, None),
    "revoked": ("revoked", "approved", "rejected", "revoked", None),
}
CELLS = [
    (Status(standing), verb, expected)
    for standing, row in EXPECTED.items()
    for verb, expected in zip((verb for verb in Verb if verb not in OF_AUTHORITIES), row, strict=True)
]


@pytest.mark.parametrize(("standing", "verb", "expected"), CELLS)
def test_a_verb_makes_of_a_standing_what_the_table_says(standing: Status, verb: Verb, expected: str | None) -> None:
    cell = after(standing, verb)
    if expected is None:
        assert isinstance(cell, Refusal)
        assert cell.sentence
    else:
        assert cell == Becomes(Status(expected))


def test_the_table_has_a_cell_for_every_pair() -> None:
    assert set(TABLE) == {(standing, verb) for standing in Status for verb in set(Verb) - OF_AUTHORITIES}


@pytest.mark.parametrize("standing", [Status.REJECTED, Status.REVOKED])
def test_who_was_rejected_or_revoked_is_approved_by_a_person_alone(standing: Status) -> None:
    approving = {verb for verb in set(Verb) - OF_AUTHORITIES if after(standing, verb) == Becomes(Status.APPROVED)}
    assert approving == {Verb.APPROVE}
