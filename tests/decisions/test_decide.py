"""Every decision, from wherever it comes, meets the rules, the ledger, the journal and the watchers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.records import Records

from eximcertd.certificates.parsing import parse
from eximcertd.decisions.decide import Decider, Outcome
from eximcertd.decisions.sources import (
    DecisionRequest,
    KnownCertificates,
    by_person,
    by_policy,
    imported,
    manual_edit,
    offline,
)
from eximcertd.errors import RefusedError, UsageError
from eximcertd.events import Event
from eximcertd.fingerprint import NEVER, Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.ledger.decisions import Decision
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ONE, TWO, THREE = (Fingerprint(f"{n:08X}".ljust(64, "0")) for n in (1, 2, 3))
NOW = time.time_ns() // 1_000_000
NO_CERTIFICATE = frozenset({"without-certificate"})


class Desk:
    """A ledger with the one entry point before it; told: what watchers were told."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.ledger = Ledger(directory)
        self.records = Records()
        self.told: list[Fingerprint] = []
        self.decider = Decider(self.ledger, self.records)
        self.decider.watchers.append(self.tell)

    def tell(self, changed: Sequence[Fingerprint]) -> None:
        self.told += changed

    def person(self, verb: Verb, *fingerprints: Fingerprint, request: str = "", by: str = "alice") -> Outcome:
        request = request or f"{verb} {fingerprints} {len(self.records.kept)}"
        return self.decider.decide(
            by_person(verb, fingerprints, by, NOW, request=request, insist=NO_CERTIFICATE, note="why")
        )

    def bring(self, *decisions: Decision, by: str = "mallory", insist: frozenset[str] = NO_CERTIFICATE) -> Outcome:
        return self.decider.decide(imported(decisions, by, NOW, request="r", insist=insist))

    def status(self, fingerprint: Fingerprint) -> Status:
        return self.ledger.entries.get(fingerprint).status

    def history(self, fingerprint: Fingerprint | None = None) -> list[Decision]:
        return [decision for _, decision in self.ledger.decisions.history(fingerprint)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "ledger")
    yield desk
    desk.ledger.close()


SOURCES = {
    "person": (by_person(Verb.REJECT, [ONE], "alice", NOW, request="1"), Event.REJECTED, "rejected by alice"),
    "import": (
        imported([Decision(ONE, Verb.REJECT, "root", NOW)], "bob", NOW, request="1"),
        Event.REJECTED,
        "rejected by root (imported by bob)",
    ),
    "policy": (by_policy(Verb.REJECT, [ONE], "a rule", NOW), Event.REJECTED, "rejected by policy"),
    "manual edit": (manual_edit([ONE], "found", NOW), Event.ADOPTED_BY_HAND, "adopted by hand"),
    "offline": (
        offline([Decision(ONE, Verb.REJECT, "root", NOW, "", "1")]),
        Event.REJECTED,
        "rejected by root",
    ),
}


@pytest.mark.parametrize(("request_", "event", "words"), SOURCES.values(), ids=SOURCES)
def test_each_source_reaches_ledger_journal_and_watchers(
    desk: Desk, request_: DecisionRequest, event: Event, words: str
) -> None:
    outcome = desk.decider.decide(request_)
    assert outcome.changed == [ONE]
    assert desk.history(ONE) == list(request_.decisions)
    assert desk.told == [ONE]
    [(message, fields)] = [(message, fields) for kind, message, fields in desk.records.kept if kind is event]
    assert message == f"{ONE} {words}"
    assert (fields["FINGERPRINT"], fields["BY"]) == (ONE, request_.decisions[0].by)


@pytest.mark.parametrize("never", sorted(NEVER))
@pytest.mark.parametrize("source", ["person", "import", "manual edit", "offline"])
def test_the_fingerprints_of_no_certificate_are_approved_from_nowhere(
    desk: Desk, never: Fingerprint, source: str
) -> None:
    approval = Decision(never, Verb.APPROVE, "x", NOW, "", "r")
    requests = {
        "person": by_person(Verb.APPROVE, [never], "x", NOW, request="r", insist=NO_CERTIFICATE),
        "import": imported([approval], "x", NOW, request="r", insist=NO_CERTIFICATE),
        "manual edit": manual_edit([never], "found", NOW),
        "offline": offline([approval]),
    }
    request = requests[source]
    if request.all_or_none:
        with pytest.raises(RefusedError, match="can never be approved"):
            desk.decider.decide(request)
    else:
        assert [fingerprint for fingerprint, _ in desk.decider.decide(request).refused] == [never]
    assert desk.status(never) is Status.UNSEEN
    assert desk.told == []


def test_a_persons_decisions_are_all_made_or_none(desk: Desk) -> None:
    desk.person(Verb.APPROVE, ONE)
    with pytest.raises(RefusedError, match="never approved"):
        desk.person(Verb.REVOKE, ONE, TWO)
    assert desk.status(ONE) is Status.APPROVED


def test_a_decision_that_changes_nothing_is_not_recorded_again(desk: Desk) -> None:
    desk.person(Verb.APPROVE, ONE)
    desk.person(Verb.APPROVE, ONE)
    assert len(desk.history(ONE)) == 1
    assert desk.told == [ONE]


def test_a_repeated_request_is_answered_and_decides_nothing_again(desk: Desk) -> None:
    desk.person(Verb.APPROVE, ONE, request="7")
    desk.person(Verb.REVOKE, ONE, request="8")
    assert [one.status for one in desk.person(Verb.APPROVE, ONE, request="7").decided] == [Status.REVOKED]
    with pytest.raises(UsageError, match="used for another decision"):
        desk.person(Verb.REJECT, TWO, request="7")


def test_an_approval_without_a_certificate_takes_insistence_from_person_and_import(desk: Desk) -> None:
    with pytest.raises(RefusedError, match="--without-certificate overrides this"):
        desk.decider.decide(by_person(Verb.APPROVE, [ONE], "alice", NOW, request="1"))
    with pytest.raises(RefusedError, match="--without-certificate overrides this"):
        desk.bring(Decision(ONE, Verb.APPROVE, "root", NOW - 5), insist=frozenset())
    assert desk.bring(Decision(ONE, Verb.APPROVE, "root", NOW - 5)).added == 1


def test_who_imports_speaks_in_nobody_elses_name(desk: Desk) -> None:
    desk.bring(
        Decision(ONE, Verb.APPROVE, "root", NOW - 9),
        Decision(TWO, Verb.APPROVE, "root (imported by root)", NOW - 9),
        Decision(THREE, Verb.APPROVE, "mallory", NOW - 9),
    )
    assert [one.by for one in desk.history()] == ["root (imported by mallory)"] * 2 + ["mallory"]


def test_an_import_is_recorded_as_an_import_with_what_it_held(desk: Desk) -> None:
    desk.bring(Decision(ONE, Verb.REVOKE, "root", NOW - 9), Decision(TWO, Verb.REJECT, "root", NOW - 9))
    assert desk.records.events() == [Event.IMPORTED, Event.REVOKED, Event.REJECTED]
    assert desk.records.kept[0][1] == "2 decisions were imported by mallory: 1 revoked, 1 rejected"


def test_an_imported_history_gives_the_same_statuses_and_is_taken_once(desk: Desk, tmp_path: Path) -> None:
    desk.person(Verb.APPROVE, ONE, TWO)
    desk.person(Verb.REVOKE, TWO)
    other = Desk(tmp_path / "other")
    assert other.bring(*desk.history(), by="alice").added == 3
    assert other.bring(*desk.history(), by="alice").added == 0
    assert desk.bring(*other.history(), by="bob").added == 0, "what was imported is known where it came from"
    assert other.ledger.publications.wanted() == [ONE]
    other.ledger.close()


def test_an_approval_that_the_same_import_revokes_needs_no_certificate(desk: Desk) -> None:
    history = [Decision(ONE, Verb.APPROVE, "root", NOW - 9), Decision(ONE, Verb.REVOKE, "root", NOW - 8)]
    assert desk.bring(*history, insist=frozenset()).added == 2
    assert desk.status(ONE) is Status.REVOKED


def test_a_decision_from_the_future_is_refused(desk: Desk) -> None:
    with pytest.raises(UsageError, match="in the future"):
        desk.bring(Decision(ONE, Verb.REVOKE, "root", NOW + 61_000))
    assert desk.bring(Decision(ONE, Verb.REVOKE, "root", NOW + 59_000)).added == 1, "clocks differ by a minute"


def test_a_decision_older_than_the_ledgers_own_is_left_out_and_counted(desk: Desk) -> None:
    desk.person(Verb.APPROVE, ONE)
    outcome = desk.bring(Decision(ONE, Verb.REVOKE, "root", NOW - 3_600_000))
    assert (outcome.added, outcome.older) == (0, 1)
    assert desk.status(ONE) is Status.APPROVED
    assert len(desk.history(ONE)) == 1


def test_a_ledger_that_was_rebuilt_from_the_file_takes_its_history_back(desk: Desk) -> None:
    desk.decider.decide(manual_edit([ONE, TWO], "found at the first start", NOW))
    desk.bring(
        Decision(ONE, Verb.APPROVE, "alice", NOW - 99, "asked by phone"), Decision(TWO, Verb.REVOKE, "a", NOW - 98)
    )
    assert desk.status(ONE) is Status.APPROVED
    assert desk.history(ONE)[-1].note == "asked by phone"
    assert desk.status(TWO) is Status.REVOKED


def test_an_import_does_not_approve_by_hand_who_was_revoked(desk: Desk) -> None:
    desk.person(Verb.APPROVE, ONE)
    desk.person(Verb.REVOKE, ONE)
    with pytest.raises(RefusedError, match="does not readmit it"):
        desk.bring(Decision(ONE, Verb.ADOPT, "by hand", NOW))


def test_a_manual_edit_lets_nobody_back_in(desk: Desk) -> None:
    desk.person(Verb.APPROVE, ONE)
    desk.person(Verb.REVOKE, ONE)
    desk.person(Verb.REJECT, TWO)
    outcome = desk.decider.decide(manual_edit([ONE, TWO, THREE], "found", NOW))
    assert outcome.changed == [THREE]
    assert [fingerprint for fingerprint, _ in outcome.refused] == [ONE, TWO]
    assert desk.ledger.publications.wanted() == [THREE]


def test_an_offline_revocation_counts_whatever_a_clock_said_and_only_once(desk: Desk) -> None:
    desk.person(Verb.APPROVE, ONE)
    revocation = Decision(ONE, Verb.REVOKE, "root", 1000, "", "r")
    assert desk.decider.decide(offline([revocation])).added == 1
    assert desk.status(ONE) is Status.REVOKED
    desk.person(Verb.APPROVE, ONE)
    assert desk.decider.decide(offline([revocation])).known == 1
    assert desk.status(ONE) is Status.APPROVED


def test_what_was_taken_out_by_hand_comes_back_with_the_next_approval(desk: Desk) -> None:
    desk.person(Verb.APPROVE, ONE)
    desk.ledger.decisions.withhold([ONE])
    assert desk.person(Verb.APPROVE, ONE).changed == [ONE]
    assert desk.ledger.publications.wanted() == [ONE]


def test_a_decision_over_thousands_is_told_in_one_event(desk: Desk) -> None:
    desk.person(Verb.REJECT, *(Fingerprint(f"{n:064X}") for n in range(1000)))
    [(event, message, fields)] = desk.records.kept
    assert (event, message, fields["COUNT"]) == (Event.REJECTED, "1000 fingerprints rejected by alice", "1000")
    assert len(desk.told) == 1000


def test_a_certificates_name_is_escaped_in_the_journal(desk: Desk, tmp_path: Path) -> None:
    hostile = parse(make(tmp_path, "x\x1b[2J", names=[], stem="hostile").der)
    known = KnownCertificates({hostile.fingerprint: hostile})
    desk.decider.decide(by_person(Verb.APPROVE, [hostile.fingerprint], "alice", NOW, request="1", known=known))
    [message] = [message for _, message, _ in desk.records.kept]
    assert message == f"{hostile.fingerprint} (CN=x\\x1b[2J) approved by alice"


def test_a_decision_over_a_hundred_is_told_one_by_one_with_its_note_and_over_more_in_one_event(desk: Desk) -> None:
    desk.person(Verb.REJECT, *(Fingerprint(f"{n:064X}") for n in range(100)))
    assert desk.records.events() == [Event.REJECTED] * 100
    assert desk.records.kept[0][2] == {
        "FINGERPRINT": "0" * 64, "VERB": "reject", "BY": "alice", "SUBJECT": "", "NOTE": "why"
    }  # fmt: skip
    desk.records.kept.clear()
    desk.person(Verb.REJECT, *(Fingerprint(f"{n:064X}") for n in range(200, 301)))
    assert [fields for _, _, fields in desk.records.kept] == [{"BY": "alice", "COUNT": "101"}]


def test_a_large_import_is_told_for_each_verb_and_name(desk: Desk) -> None:
    many = [Fingerprint(f"{n:064X}") for n in range(150)]
    desk.bring(*(Decision(one, Verb.REJECT, "ann" if one < many[60] else "bob", NOW - 9) for one in many))
    assert desk.records.kept == [
        (
            Event.IMPORTED,
            "150 decisions were imported by mallory: 150 rejected",
            {"BY": "mallory", "COUNT": "150"},
        ),
        (
            Event.REJECTED,
            "90 fingerprints rejected by bob (imported by mallory)",
            {"BY": "bob (imported by mallory)", "COUNT": "90"},
        ),
        (
            Event.REJECTED,
            "60 fingerprints rejected by ann (imported by mallory)",
            {"BY": "ann (imported by mallory)", "COUNT": "60"},
        ),
    ]


def test_of_many_refusals_a_hundred_are_named_and_the_others_counted(desk: Desk) -> None:
    many = [Fingerprint(f"{n:064X}") for n in range(203)]
    for refused, last in ((many[:100], None), (many, "and 103 more")):
        with pytest.raises(RefusedError) as told:
            desk.person(Verb.REVOKE, *refused)
        lines = str(told.value).splitlines()
        assert len([line for line in lines if line.endswith("use reject to keep it out")]) == 100
        assert lines[100:] == ([last] if last else [])


def test_the_certificate_of_an_approved_one_is_kept_and_of_a_rejected_one_is_not(desk: Desk, tmp_path: Path) -> None:
    approved, rejected = (parse(make(tmp_path, f"{name}.example").der) for name in ("laptop", "mallory"))
    known = KnownCertificates({one.fingerprint: one for one in (approved, rejected)})
    for verb, of in ((Verb.APPROVE, approved), (Verb.REJECT, rejected)):
        desk.decider.decide(by_person(verb, [of.fingerprint], "alice", NOW, request=verb, known=known))
    kept = desk.ledger.identities.among([approved.fingerprint, rejected.fingerprint])
    assert {name: identity.subject for name, identity in kept.items()} == {approved.fingerprint: "CN=laptop.example"}


def test_of_two_decisions_of_one_moment_the_imported_one_counts_and_once(desk: Desk) -> None:
    desk.person(Verb.APPROVE, ONE)
    revocation = Decision(ONE, Verb.REVOKE, "root", NOW)
    outcome = desk.bring(revocation, revocation)
    assert (outcome.added, outcome.known, outcome.older) == (1, 1, 0)
    assert desk.status(ONE) is Status.REVOKED


def test_what_an_import_changes_is_told_of_each_decision(desk: Desk) -> None:
    outcome = desk.bring(*(Decision(ONE, Verb.APPROVE, "root", NOW - before, f"{before}") for before in (9, 8, 0)))
    assert [one.changed for one in outcome.decided] == [True, False, False]
    assert outcome.changed == [ONE]
    assert outcome.added == 2, "one of this moment that changes nothing is no history"
    assert desk.told == [ONE]


def test_checking_a_request_raises_what_deciding_it_would_and_decides_nothing(desk: Desk) -> None:
    desk.decider.check(by_person(Verb.REJECT, [ONE], "alice", NOW, request="1"))
    with pytest.raises(RefusedError, match="never approved"):
        desk.decider.check(by_person(Verb.REVOKE, [ONE], "alice", NOW, request="1"))
    assert (desk.status(ONE), desk.records.kept, desk.told) == (Status.UNSEEN, [], [])


def test_a_request_in_which_nothing_is_to_do_tells_nobody(desk: Desk) -> None:
    outcome = desk.decider.decide(manual_edit([], "found", NOW))
    assert (outcome, desk.records.kept, desk.told) == (Outcome(), [], [])
