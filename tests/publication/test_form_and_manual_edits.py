"""Which form the allowlist is written in, and what counts as a person's hand in the macro file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eximcertd.fingerprint import Fingerprint
from eximcertd.publication.form import DIRECTORY, LIST, choose
from eximcertd.publication.manual_edits import ManualEdit, difference

SETS = st.frozensets(st.sampled_from([Fingerprint(f"{n:064X}") for n in range(6)]))


@pytest.mark.parametrize("configured", [LIST, DIRECTORY])
def test_a_form_that_is_configured_is_taken_whatever_the_length(configured: str) -> None:
    assert choose(configured, 10, 1000, LIST, rewritten=True) == configured


def test_auto_is_the_list_up_to_its_limit_then_the_directory() -> None:
    assert choose("auto", 10, 10, LIST) == LIST
    assert choose("auto", 10, 11, LIST) == DIRECTORY


def test_auto_does_not_change_back_and_forth_at_the_limit() -> None:
    assert choose("auto", 10, 10, DIRECTORY) == DIRECTORY
    assert choose("auto", 10, 5, DIRECTORY) == LIST


def test_auto_takes_the_directory_where_a_macro_rewrites_fingerprints() -> None:
    assert choose("auto", 10, 1, LIST, rewritten=True) == DIRECTORY


@given(SETS, SETS)
def test_neither_the_confirmed_list_nor_the_one_being_published_is_a_hand_edit(
    confirmed: frozenset[Fingerprint], publishing: frozenset[Fingerprint]
) -> None:
    assert difference(confirmed, confirmed, publishing) == ManualEdit()
    assert difference(publishing, confirmed, publishing) == ManualEdit()


@given(SETS, SETS, SETS)
def test_what_only_the_file_has_was_added_and_what_both_lists_have_was_removed(
    found: frozenset[Fingerprint], confirmed: frozenset[Fingerprint], publishing: frozenset[Fingerprint]
) -> None:
    edit = difference(found, confirmed, publishing)
    assert edit.added == found - confirmed - publishing
    assert edit.removed == (confirmed & publishing) - found
