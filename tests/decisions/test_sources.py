"""A request of each source: what is refused before any rule is asked, and what it says about itself."""

from __future__ import annotations

import pytest

from eximcertd.decisions.resolve import whole
from eximcertd.decisions.sources import (
    DecisionRequest,
    KnownCertificates,
    by_person,
    by_policy,
    imported,
    manual_edit,
    offline,
)
from eximcertd.errors import UsageError
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.decisions import Decision
from eximcertd.status import Verb

ONE, TWO, THREE = (Fingerprint(f"{n:08X}".ljust(64, "0")) for n in (1, 2, 3))
NOW = 1_800_000_000_000


def test_a_persons_request_names_each_fingerprint_once_with_who_when_and_why() -> None:
    request = by_person(Verb.REJECT, [TWO, ONE, TWO], "alice", NOW, request="7", note="why", insist=frozenset({"ca"}))
    assert request.decisions == tuple(Decision(one, Verb.REJECT, "alice", NOW, "why", "7") for one in (TWO, ONE))
    assert (request.id, sorted(request.insist), request.all_or_none) == ("7", ["ca"], True)


@pytest.mark.parametrize("verb", [Verb.SEE, Verb.ADOPT])
def test_a_person_neither_sees_nor_adopts(verb: Verb) -> None:
    with pytest.raises(UsageError, match=f"{verb} is not a decision that a person makes"):
        by_person(verb, [ONE], "alice", NOW, request="7")


def test_a_request_without_an_id_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match="no id") as told:
        by_person(Verb.REJECT, [ONE], "alice", NOW, request="")
    assert "a repeated one counts once" in told.value.hint


def test_an_option_that_no_rule_has_is_refused_by_its_name() -> None:
    with pytest.raises(UsageError, match="no rule to insist against: force, please"):
        by_person(Verb.APPROVE, [ONE], "alice", NOW, request="7", insist=frozenset({"please", "force", "ca"}))
    with pytest.raises(UsageError, match="no rule to insist against: force"):
        imported([], "alice", NOW, request="7", insist=frozenset({"force"}))


@pytest.mark.parametrize("by", ["a person", "an import"])
def test_a_note_has_at_most_a_thousand_characters(by: str) -> None:
    def request(note: str) -> DecisionRequest:
        if by == "a person":
            return by_person(Verb.REJECT, [ONE], "alice", NOW, request="7", note=note)
        return imported([Decision(ONE, Verb.REJECT, "bob", NOW, note)], "alice", NOW, request="7")

    assert request("x" * 1000).decisions[0].note == "x" * 1000
    with pytest.raises(UsageError, match="1000 characters"):
        request("x" * 1001)


def test_an_imported_name_has_at_most_two_hundred_characters() -> None:
    imported([Decision(ONE, Verb.REJECT, "b" * 200, NOW)], "alice", NOW, request="7")
    with pytest.raises(UsageError, match=f"{ONE}: a note has at most 1000 characters, a name 200"):
        imported([Decision(ONE, Verb.REJECT, "b" * 201, NOW)], "alice", NOW, request="7")


def test_a_clock_that_is_a_minute_ahead_is_no_future() -> None:
    imported([Decision(ONE, Verb.REJECT, "bob", NOW + 60_000)], "alice", NOW, request="7")
    with pytest.raises(UsageError, match="decided in the future"):
        imported([Decision(ONE, Verb.REJECT, "bob", NOW + 60_001)], "alice", NOW, request="7")


def test_an_import_is_in_the_order_of_time_and_says_whose_it_is() -> None:
    known = KnownCertificates({}, {TWO})
    given = [Decision(ONE, Verb.REVOKE, "bob", NOW - 1), Decision(ONE, Verb.APPROVE, "alice", NOW - 2)]
    request = imported(given, "alice", NOW, request="7", known=known)
    assert [(one.verb, one.by, one.request) for one in request.decisions] == [
        (Verb.APPROVE, "alice", "import 7"),
        (Verb.REVOKE, "bob (imported by alice)", "import 7"),
    ]
    assert request.last == {ONE: request.decisions[1]}
    assert (request.imported_by, request.history_before, request.issuers) == ("alice", NOW, {TWO})
    assert (request.id, request.all_or_none) == ("", True)


def test_a_policy_a_manual_edit_and_root_offline_refuse_each_decision_by_itself() -> None:
    requests = (by_policy(Verb.REVOKE, [ONE], "x", NOW), manual_edit([ONE], "x", NOW), offline([]))
    assert [request.all_or_none for request in requests] == [False] * 3
    assert [one.fingerprint for one in manual_edit({THREE, ONE, TWO}, "x", NOW).decisions] == [ONE, TWO, THREE]


def test_a_long_request_is_made_in_portions_of_which_none_is_lost() -> None:
    many = tuple(Decision(Fingerprint(f"{number:064X}"), Verb.REJECT, "bob", NOW) for number in range(7))
    request = imported(many, "alice", NOW, request="7")
    portions = list(request.portions(3))
    assert [len(portion.decisions) for portion in portions] == [3, 3, 1]
    assert tuple(one for portion in portions for one in portion.decisions) == request.decisions
    assert {portion.imported_by for portion in portions} == {"alice"}


def test_a_part_of_a_fingerprint_is_no_whole_one() -> None:
    assert whole(ONE.lower()) == ONE
    with pytest.raises(UsageError, match="ABCDEF01 is not a whole fingerprint"):
        whole("abcdef01")
