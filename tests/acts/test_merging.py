"""Whatever is decided where, cut off, lost by the database and settled: the rules of effective.py keep every promise.

Each mistake that one might make in these rules is made, and is seen to be found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from lab.merging import OUT, STEPS, Code, Step, common_to, drawn, play

from eximcertd.acts.effective import BECOMES, Lost, Newest, Own, effective, rebased
from eximcertd.status import ALLOWS, Status, Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.fingerprint import Fingerprint

    Decisions = Mapping[Fingerprint, Own]
    Standing = Callable[[Newest | None, Own | None], Status | None]
    Rebase = Callable[[Decisions, Iterable[Lost], int], dict[Fingerprint, Own]]

HISTORIES: Final = 4000
"""Random histories in which a mistake has to be found."""


@given(STEPS)
@settings(max_examples=400)
def test_every_promise_holds_in_every_history(steps: list[Step]) -> None:
    play(steps)


def test_every_promise_holds_in_random_histories_in_many_of_which_the_database_goes_back() -> None:
    assert sum(play(drawn(seed)) for seed in range(500)) > 100


def caught(code: Code) -> str:
    """Return the promise that random histories find broken."""
    for seed in range(HISTORIES):
        try:
            play(drawn(seed), code)
        except AssertionError as broken:
            return str(broken)
    pytest.fail(f"the mistake was not found in {HISTORIES} histories")


def newer_wins(newest: Newest | None, own: Own | None) -> Status | None:
    return newest.status if newest and own and newest.generation > own.base else effective(newest, own)


def acts_win(newest: Newest | None, own: Own | None) -> Status | None:
    return newest.status if newest else effective(newest, own)


def own_wins(newest: Newest | None, own: Own | None) -> Status | None:
    return BECOMES[own.verb] if own else effective(newest, own)


def knowing_does_not_help(newest: Newest | None, own: Own | None) -> Status | None:
    if newest and own and newest.status in OUT and own.verb in ALLOWS:
        return newest.status
    return effective(newest, own)


def one_too_many(newest: Newest | None, own: Own | None) -> Status | None:
    return effective(newest, own and own._replace(base=own.base - 1))


def one_too_few(newest: Newest | None, own: Own | None) -> Status | None:
    return effective(newest, own and own._replace(base=own.base + 1))


@pytest.mark.parametrize("mistake", [newer_wins, acts_win, own_wins, knowing_does_not_help, one_too_many, one_too_few])
def test_a_mistake_in_the_effective_status_is_found(mistake: Standing) -> None:
    assert caught(Code(effective=mistake))


def lost_acts_are_forgotten(own: Decisions, lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    return rebased(own, (), last)


def lost_rejections_are_forgotten(own: Decisions, lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    return rebased(own, [one for one in lost if one.verb in ALLOWS], last)


def lost_approvals_are_forgotten(own: Decisions, lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    return rebased(own, [one for one in lost if one.verb not in ALLOWS], last)


def a_lost_act_replaces_a_rejection(own: Decisions, lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    every = list(lost)
    named = {one.fingerprint for one in every}
    return rebased({name: one for name, one in own.items() if name not in named}, every, last)


def bases_stay(own: Decisions, lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    return {name: one._replace(base=own[name].base) if own.get(name, one).id == one.id and name in own else one
            for name, one in rebased(own, lost, last).items()}  # fmt: skip


def bases_of_lost_acts_stay(own: Decisions, lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    every = list(lost)
    of = {one.id: one.generation for one in every}
    return {name: one._replace(base=of.get(one.id, one.base)) for name, one in rebased(own, every, last).items()}


def the_first_lost_act_counts(own: Decisions, lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    return rebased(own, {one.fingerprint: one for one in reversed(list(lost))}.values(), last)


def an_older_approval_stays(own: Decisions, lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    return rebased(own, [one for one in lost if one.fingerprint not in own], last)


def a_newer_approval_is_replaced(own: Decisions, lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    older = {name: one._replace(base=0) if one.verb in ALLOWS else one for name, one in own.items()}
    return rebased(older, lost, last)


@pytest.mark.parametrize(
    "mistake",
    [
        lost_acts_are_forgotten,
        lost_rejections_are_forgotten,
        lost_approvals_are_forgotten,
        a_lost_act_replaces_a_rejection,
        bases_stay,
        bases_of_lost_acts_stay,
        the_first_lost_act_counts,
        an_older_approval_stays,
        a_newer_approval_is_replaced,
    ],
)
def test_a_mistake_in_the_rebase_is_found(mistake: Rebase) -> None:
    assert caught(Code(rebased=mistake))


def any_act_settles(act: Act, own: Decisions) -> set[Fingerprint]:
    return {name for name in act.fingerprints if name in own}


def an_act_settles_on_other_fingerprints_too(act: Act, own: Decisions) -> set[Fingerprint]:
    return {name for name, one in own.items() if one.id in act.settles}


def nothing_settles(act: Act, own: Decisions) -> set[Fingerprint]:
    return set()


@pytest.mark.parametrize("mistake", [any_act_settles, an_act_settles_on_other_fingerprints_too, nothing_settles])
def test_a_mistake_in_what_an_act_settles_is_found(
    mistake: Callable[[Act, Decisions], set[Fingerprint]],
) -> None:
    assert caught(Code(settled_by=mistake))


def by_clock(acts: Sequence[Act]) -> dict[Fingerprint, Newest]:
    return {
        name: Newest(act.generation, BECOMES[Verb(act.verb)])
        for act in sorted(acts, key=lambda act: act.at)
        for name in act.fingerprints
    }


def test_an_order_by_the_clock_is_found() -> None:
    assert caught(Code(newest_of=by_clock))


def by_number(mine: Sequence[Act], theirs: Sequence[Act]) -> int:
    return min(len(mine), len(theirs))


def by_the_number_of_the_head(mine: Sequence[Act], theirs: Sequence[Act]) -> int:
    return len(mine) if len(theirs) >= len(mine) else common_to(mine, theirs)


@pytest.mark.parametrize("mistake", [by_number, by_the_number_of_the_head])
def test_a_database_that_went_back_and_on_again_is_not_told_by_its_number(
    mistake: Callable[[Sequence[Act], Sequence[Act]], int],
) -> None:
    assert caught(Code(common_to=mistake)) in {
        "a relay can always follow the database",
        "a relay has the database's acts",
    }
