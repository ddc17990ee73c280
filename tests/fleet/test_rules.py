"""The rules for an act, and the queue of the fleet, in memory."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from lab.fleet import Fleet, next_act

from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import ActRefusedError, MovedError, OwnDecision, Sighted

A, B, C = (Fingerprint(digit * 64) for digit in "ABC")


def own(verb: str, fingerprint: Fingerprint = A, relay: str = "mx2") -> OwnDecision:
    return OwnDecision(relay, str(uuid.uuid4()), fingerprint, verb, "carol", 0, "", 0)


def sighted(fingerprint: Fingerprint, last_seen: int, der: bytes | None = None) -> Sighted:
    return Sighted("mx1", fingerprint, 1, 0, last_seen, der=der)


def test_an_act_must_follow_the_head() -> None:
    fleet = Fleet()
    quick, slow = next_act(fleet.head(), "approve", A), next_act(fleet.head(), "reject", A)
    fleet.desk().decide(quick)
    with pytest.raises(MovedError):
        fleet.desk().decide(slow)


@pytest.mark.parametrize(
    ("before", "verb", "told"),
    [
        (["approve"], "reject", "is approved: use revoke instead"),
        ([], "revoke", "was never approved"),
        (["reject"], "revoke", "is rejected, not approved"),
    ],
)
def test_the_table_of_status_and_verb_holds_for_the_fleet(before: list[str], verb: str, told: str) -> None:
    fleet = Fleet()
    for one in before:
        fleet.act(one, A)
    with pytest.raises(ActRefusedError, match=told):
        fleet.act(verb, A, B)


@pytest.mark.parametrize("verb", ["approve", "adopt", "revoke"])
def test_what_was_approved_on_a_relay_alone_can_be_revoked_by_the_fleet(verb: str) -> None:
    fleet = Fleet()
    fleet.own["mx2"] = [own(verb)]
    fleet.act("revoke", A)
    fleet.act("revoke", B, settles=[str(uuid.uuid4())])  # revoked on a relay that has not told it yet
    fleet.own["mx2"] = [own("reject", C)]
    with pytest.raises(ActRefusedError, match="was never approved"):
        fleet.act("revoke", C)


def test_a_request_is_not_decided_twice() -> None:
    fleet = Fleet()
    act = fleet.act("approve", A)
    with pytest.raises(MovedError, match="this request is act 1 already"):
        fleet.desk().decide(replace(next_act(fleet.head(), "approve", B), request=act.request))


@pytest.mark.parametrize("verb", ["reject", "revoke"])
def test_an_approval_must_name_what_a_relay_has_decided_against(verb: str) -> None:
    fleet = Fleet()
    fleet.own["mx2"] = [against := own(verb), own("approve", relay="mx3"), own("revoke", B)]
    with pytest.raises(ActRefusedError, match=f"{verb} on mx2 by carol is open.*{against.id}"):
        fleet.act("approve", A)
    fleet.act("approve", A, settles=[against.id])
    assert against not in fleet.desk().own([A])


def test_a_refusal_names_a_few_fingerprints_and_counts_the_rest() -> None:
    with pytest.raises(ActRefusedError, match="and 35 more") as refused:
        Fleet().act("revoke", *(f"{number:064X}" for number in range(40)))
    assert len(refused.value.message.splitlines()) == 6


def test_the_queue_has_what_is_not_decided_with_certificates_first_then_the_newest() -> None:
    fleet = Fleet()
    relay = fleet.relay("mx1")
    relay.sight([sighted(A, 9), sighted(B, 1, b"der"), sighted(C, 10)])
    assert [one.fingerprint for one in fleet.desk().pending(9)] == [B, C, A]
    assert [one.fingerprint for one in fleet.desk().pending(2)] == [B, C]
    fleet.act("reject", B)
    assert [one.fingerprint for one in fleet.desk().pending(2)] == [C, A]
    assert [one.fingerprint for one in fleet.desk().sighted([B])] == [B]
