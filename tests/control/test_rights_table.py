"""Who may do what: the one table, by uid and groups."""

from __future__ import annotations

import grp
import os

import pytest

from eximcertd.control.connection_limiter import Bound, ConnectionLimiter, Rank
from eximcertd.control.rights import TABLE, Right, Rights
from eximcertd.errors import ConfigurationError

RIGHTS = Rights(readers=frozenset({100}), approvers=frozenset({200}), fleet=998)
READING = sorted(method for method, right in TABLE.items() if right is Right.READ)
APPROVING = sorted(method for method, right in TABLE.items() if right is Right.APPROVE)
FLEET = sorted(method for method, right in TABLE.items() if right is Right.FLEET)
FREE = sorted(method for method, right in TABLE.items() if right is Right.ANYBODY)


@pytest.mark.parametrize("method", sorted(TABLE))
def test_root_may_everything(method: str) -> None:
    assert RIGHTS.allow(method, 0, frozenset())


@pytest.mark.parametrize("method", sorted(TABLE))
def test_an_approver_may_everything_but_hand_over_decisions_of_the_fleet(method: str) -> None:
    assert RIGHTS.allow(method, 1000, frozenset({1000, 200})) is (method not in FLEET)


@pytest.mark.parametrize("method", sorted(TABLE))
def test_the_user_of_eximcertd_fleet_may_hand_them_over_and_no_more(method: str) -> None:
    assert RIGHTS.allow(method, 998, frozenset({998})) is (method in FLEET + FREE)


@pytest.mark.parametrize("method", sorted(TABLE))
def test_a_reader_may_read_and_not_approve(method: str) -> None:
    assert RIGHTS.allow(method, 1000, frozenset({1000, 100})) is (method in READING + FREE)


@pytest.mark.parametrize("method", sorted(TABLE))
def test_a_caller_without_a_right_may_ask_for_the_name_of_the_service_and_no_more(method: str) -> None:
    assert RIGHTS.allow(method, 1000, frozenset({1000})) is (method in FREE)


@pytest.mark.parametrize(
    "method", ["org.eximcertd.Quit", "Status", "", "org.eximcertd.status", "org.eximcertd.Status "]
)
def test_what_is_not_in_the_table_nobody_may_not_even_root(method: str) -> None:
    assert not RIGHTS.allow(method, 0, frozenset({0, 100, 200}))


def test_without_groups_root_alone_has_any_right() -> None:
    nobody = Rights()
    assert nobody.held(0, frozenset()) == frozenset(Right)
    assert nobody.held(1, frozenset({0, 1, 65534})) == frozenset({Right.ANYBODY})


def test_groups_are_found_by_name() -> None:
    name = grp.getgrgid(os.getegid()).gr_name
    rights = Rights.of_groups([name], [])
    assert rights.readers == frozenset({os.getegid()})
    assert rights.approvers == frozenset()


def test_groups_that_are_not_there_are_all_named_at_once_and_let_nobody_in() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Rights.of_groups(["no-such-group"], ["nor-this-one"])
    assert "readers = 'no-such-group'" in str(caught.value)
    assert "approvers = 'nor-this-one'" in str(caught.value)


def test_the_group_of_everybody_unknown_is_no_group() -> None:
    with pytest.raises(ConfigurationError, match="that the kernel cannot name"):
        Rights.of_groups([], [grp.getgrgid(65534).gr_name])


def test_a_user_and_all_users_of_a_rank_have_a_limit_of_connections() -> None:
    limiter = ConnectionLimiter({Rank.ROOT: Bound(2, 2), Rank.READER: Bound(2, 3), Rank.OTHER: Bound(1, 2)})
    assert [limiter.take(Rank.READER, uid) for uid in (1, 1, 1, 2, 3)] == [True, True, False, True, False]
    assert [limiter.take(Rank.OTHER, uid) for uid in (7, 7, 8, 9)] == [True, False, True, False]
    assert [limiter.take(Rank.ROOT, 0) for _ in range(3)] == [True, True, False]
    limiter.leave(Rank.READER, 1)
    assert limiter.take(Rank.READER, 3)
    assert limiter.taken(Rank.READER) == 3
