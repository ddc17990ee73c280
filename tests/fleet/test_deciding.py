"""From what a person typed to an act: what it is about, what it settles, and what happens when the fleet moves on."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from lab.fleet import Fleet, TwinDesk, now

from eximcertd.acts.act import ActError
from eximcertd.certificates.parsing import parse
from eximcertd.errors import Exit
from eximcertd.fingerprint import NEVER, Fingerprint, grouped
from eximcertd.fleet.deciding import TRIES, OutcomeUnknownError, Proposal, decide, keeping_out, portions
from eximcertd.fleet.remote import ActRefusedError, MovedError, OwnDecision, RemoteError
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.certificates import Identity

    from eximcertd.acts.act import Act
    from eximcertd.fleet.remote import Desk

A, B = (Fingerprint(letter * 64) for letter in "AB")
WITHOUT = frozenset({"without-certificate"})


def unsigned(act: Act) -> Act:
    return act


def asked(fleet: Fleet, proposal: Proposal, signed: Callable[[Act], Act] = unsigned) -> Act | None:
    return decide(fleet.desk(), proposal, signed, fleet.desk, pause=0)


def own(relay: str, fingerprint: Fingerprint, verb: str, **other: Any) -> OwnDecision:
    given = {"by": "carol", "at": now() // 1000, "note": "", "base": 0, "id": str(uuid.uuid4()), **other}
    return OwnDecision(relay=relay, fingerprint=fingerprint, verb=verb, **given)


def approve(*fingerprints: Fingerprint, **other: Any) -> Proposal:
    return Proposal(Verb.APPROVE, fingerprints, **{"insist": WITHOUT, **other})


def test_an_act_follows_the_head_and_says_who_decided_what_and_why() -> None:
    fleet = Fleet()
    first = fleet.act("approve", A)
    act = asked(fleet, approve(B, A, note="asked by phone"))
    assert act == fleet.acts[1]
    assert (act.generation, act.previous) == (2, first.hash())
    assert (act.verb, act.by, act.note) == ("approve", "alice", "asked by phone")
    assert act.fingerprints == (B,), "what is approved already is not decided again"


def test_a_revocation_that_a_relay_reports_as_an_approval_is_known_by_its_id() -> None:
    fleet = Fleet()
    fleet.own["mx2"] = [revoked := own("mx2", A, "approve", id="01234567-0001-4000-8000-0123456789ab")]
    with pytest.raises(ActRefusedError, match=r"is refused \(and reported as approved\) on mx2 by carol"):
        asked(fleet, approve(A))
    assert keeping_out(fleet.desk(), [A]) == {Verb.REJECT: [A]}
    act = asked(fleet, approve(A, seen=[revoked.id]))
    assert act
    assert act.settles == (revoked.id,)


def test_nothing_is_decided_that_would_change_nothing() -> None:
    fleet = Fleet()
    fleet.act("approve", A)
    assert asked(fleet, approve(A)) is None
    assert len(fleet.acts) == 1


def test_the_signature_covers_the_act_at_its_place() -> None:
    fleet = Fleet()
    act = asked(fleet, approve(A), lambda act: replace(act, signature="c2ln"))
    assert act is not None
    assert fleet.acts[0].signature == "c2ln"


class Quicker(TwinDesk):
    """A desk where somebody else decides first, so many times; then the first tries may lose their answers."""

    def __init__(self, fleet: Fleet, others: int) -> None:
        super().__init__(fleet, "alice")
        self.fleet, self.others, self.tries = fleet, others, list[str]()

    def decide(self, act: Act) -> None:
        self.tries.append(act.request)
        if self.others:
            self.others -= 1
            self.fleet.act("approve", f"{len(self.fleet.acts) + 16:064X}", by="bob")
        super().decide(act)


def test_if_somebody_is_quicker_the_act_is_built_again_with_the_same_request() -> None:
    fleet = Fleet()
    desk = Quicker(fleet, 2)
    act = decide(desk, approve(A), unsigned, lambda: desk, pause=0)
    assert act is not None
    assert act.generation == 3
    assert desk.tries == [act.request] * 3


def test_it_is_built_again_a_bounded_number_of_times() -> None:
    fleet = Fleet()
    desk = Quicker(fleet, 99)
    with pytest.raises(MovedError, match="nothing is decided"):
        decide(desk, approve(A), unsigned, lambda: desk, pause=0)
    assert len(desk.tries) == TRIES
    assert all(act.by == "bob" for act in fleet.acts)


def test_what_somebody_decided_against_it_meanwhile_is_seen_when_it_is_built_again() -> None:
    fleet = Fleet()

    class Rejected(TwinDesk):
        def decide(self, act: Act) -> None:
            if not fleet.acts:
                fleet.act("reject", A, by="bob")
            super().decide(act)

    with pytest.raises(ActRefusedError, match=f"{grouped(A)} was rejected by bob meanwhile"):
        decide(Rejected(fleet, "alice"), approve(A, B), unsigned, fleet.desk, pause=0)
    assert [act.by for act in fleet.acts] == ["bob"]
    act = decide(Rejected(fleet, "alice"), approve(A, B), unsigned, fleet.desk, pause=0)
    assert act, "it was known when it was decided again"


class LosesAnswers(TwinDesk):
    """A desk whose first answers are lost. arrives: whether the act does."""

    def __init__(self, fleet: Fleet, times: int, *, arrives: bool) -> None:
        super().__init__(fleet, "alice")
        self.times, self.arrives, self.decisions = times, arrives, 0

    def decide(self, act: Act) -> None:
        self.decisions += 1
        if self.times:
            self.times -= 1
            if self.arrives:
                super().decide(act)
            raise RemoteError("the connection to db1 broke")
        super().decide(act)


@pytest.mark.parametrize("arrives", [True, False])
def test_after_a_lost_answer_the_fleet_is_asked_and_nothing_is_decided_twice(arrives: bool) -> None:
    fleet = Fleet()
    desk = LosesAnswers(fleet, 1, arrives=arrives)
    act = decide(desk, approve(A), unsigned, lambda: desk, pause=0)
    assert fleet.acts == [act]
    assert desk.decisions == (1 if arrives else 2)


def test_an_outcome_that_cannot_be_learned_is_told_as_unknown() -> None:
    fleet = Fleet()

    def again() -> Desk:
        raise RemoteError("db1 does not answer")

    with pytest.raises(OutcomeUnknownError, match="outcome unknown: db1 does not answer") as error:
        decide(LosesAnswers(fleet, 1, arrives=True), approve(A), unsigned, again, pause=0)
    assert error.value.exit_status is Exit.NO_ANSWER
    assert "not decided twice" in error.value.hint


def test_a_fleet_that_does_not_answer_before_anything_is_sent_is_no_unknown_outcome() -> None:
    fleet = Fleet()
    fleet.away = "the line is cut"
    with pytest.raises(RemoteError, match="the line is cut"):
        asked(fleet, approve(A))


def test_an_approval_names_what_relays_have_approved_and_is_refused_while_one_has_revoked() -> None:
    fleet = Fleet()
    theirs, other = own("mx2", A, "approve"), own("mx3", B, "revoke", note="stolen")
    fleet.own = {"mx2": [theirs], "mx3": [other]}
    with pytest.raises(ActRefusedError, match=f"{grouped(B)} is revoked on mx3 by carol: stolen") as error:
        asked(fleet, approve(A, B))
    assert "fleet settle" in error.value.hint
    act = asked(fleet, approve(A, B, seen=[other.id]))
    assert act is not None
    assert set(act.settles) == {theirs.id, other.id}
    assert fleet.open() == []


def test_an_own_decision_of_this_relay_counts_before_it_is_told() -> None:
    fleet = Fleet()
    mine = own("mx1", A, "revoke")
    with pytest.raises(ActRefusedError, match="is revoked on mx1"):
        asked(fleet, approve(A, here=[mine]))
    act = asked(fleet, Proposal(Verb.REJECT, [A], here=[mine]))
    assert act is not None
    assert act.settles == (mine.id,)
    again = asked(fleet, Proposal(Verb.REJECT, [A], here=[own("mx1", A, "reject")]))
    assert again is not None, "it changes no status, and settles what is open"


def test_an_own_decision_that_the_newest_act_settles_is_not_open_though_this_relay_has_not_taken_the_act() -> None:
    fleet = Fleet()
    mine = own("mx1", A, "revoke")
    settling = asked(fleet, Proposal(Verb.REJECT, [A], here=[mine]))
    act = asked(fleet, approve(A, here=[mine]))
    assert settling is not None
    assert act is not None
    assert (settling.settles, act.verb, act.settles) == ((mine.id,), "approve", ())


def test_this_relay_cannot_pass_anothers_revocation_for_an_approval_of_its_own() -> None:
    fleet = Fleet()
    theirs = own("mx2", A, "revoke")
    fleet.own = {"mx2": [theirs]}
    with pytest.raises(ActRefusedError, match="is revoked on mx2"):
        asked(fleet, approve(A, here=[own("mx1", A, "approve", id=theirs.id)]))
    assert fleet.acts == []


@pytest.mark.parametrize("liar", ["mx1", "mx2"])
def test_what_another_word_for_the_same_id_says_does_not_hide_a_revocation(liar: str) -> None:
    fleet = Fleet()
    mine = own("mx1", A, "revoke")
    fleet.own = {liar: [own(liar, A, "approve", id=mine.id)]}
    with pytest.raises(ActRefusedError, match="is revoked on mx1"):
        asked(fleet, approve(A, here=[mine]))
    fleet.own = {"mx1": [mine], "mx2": [own("mx2", A, "approve", id=mine.id)]}
    with pytest.raises(ActRefusedError, match="is revoked on mx1"):
        asked(fleet, approve(A))
    assert fleet.acts == []


def test_a_lost_act_is_told_as_lost() -> None:
    fleet = Fleet()
    fleet.own = {"mx2": [own("mx2", A, "revoke", lost=True)]}
    with pytest.raises(ActRefusedError, match="the fleet's database has lost the act"):
        asked(fleet, approve(A))


def test_the_table_of_status_and_verb_holds_for_the_fleet() -> None:
    fleet = Fleet()
    with pytest.raises(ActRefusedError, match="nothing to revoke"):
        asked(fleet, Proposal(Verb.REVOKE, [A]))
    fleet.act("approve", A)
    with pytest.raises(ActRefusedError, match="use revoke instead"):
        asked(fleet, Proposal(Verb.REJECT, [A]))
    fleet.own = {"mx2": [own("mx2", B, "approve")]}
    act = asked(fleet, Proposal(Verb.REVOKE, [B]))
    assert act is not None, "what a relay has approved on its own can be revoked"
    assert act.settles == (fleet.own["mx2"][0].id,)


@pytest.mark.parametrize("never", sorted(NEVER))
def test_the_hashes_of_no_certificate_are_refused(never: Fingerprint) -> None:
    with pytest.raises(ActRefusedError, match="can never be approved"):
        asked(Fleet(), approve(never))


def test_the_rules_for_certificates_are_those_of_one_relay(alice: Identity) -> None:
    fleet = Fleet()
    certificate = parse(alice.der)
    name = certificate.fingerprint
    with pytest.raises(ActRefusedError, match="has no known certificate") as error:
        asked(fleet, Proposal(Verb.APPROVE, [name]))
    assert "--without-certificate" in error.value.hint + error.value.message
    with pytest.raises(ActRefusedError, match="public CA"):
        asked(fleet, Proposal(Verb.APPROVE, [name], certificates={name: replace(certificate, public=True)}))
    assert asked(fleet, Proposal(Verb.APPROVE, [name], certificates={name: certificate}))


def test_what_keeps_a_certificate_refused_depends_on_what_holds_for_it() -> None:
    fleet = Fleet()
    approved, revoked, rejected, on_a_relay, here, unseen = (Fingerprint(letter * 64) for letter in "123456")
    fleet.act("approve", approved, revoked)
    fleet.act("revoke", revoked)
    fleet.act("reject", rejected)
    fleet.own = {"mx2": [own("mx2", on_a_relay, "approve")]}
    every = [approved, revoked, rejected, on_a_relay, here, unseen]
    verbs = keeping_out(fleet.desk(), every, [own("mx1", here, "adopt", by="by hand")])
    assert verbs == {Verb.REVOKE: [approved, revoked, on_a_relay, here], Verb.REJECT: [rejected, unseen]}


def test_more_own_decisions_than_one_act_settles_are_several_acts() -> None:
    names = [Fingerprint(f"{number:064X}") for number in range(3)]
    many = {name: [own(f"mx{number}", name, "approve") for number in range(2_500)] for name in names}
    assert portions(many) == [names[:2], names[2:]]
    assert portions({name: [] for name in names}) == [names]


def test_a_note_that_no_act_can_have_decides_nothing() -> None:
    fleet = Fleet()
    with pytest.raises(ActError, match="note"):
        asked(fleet, approve(A, note="two\nlines"))
    assert fleet.acts == []
