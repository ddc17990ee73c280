"""Certificates that come and go, and the renewals among them: what is told of each, and what is left to a person."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from lab.certificates import Identity, make, make_ca
from lab.deciding import decide
from lab.records import Records
from lab.shown import series
from lab.wait import until

from eximcertd.certificates.index import Index
from eximcertd.certificates.issuers import Issuers
from eximcertd.certificates.lookup import CertificateLookup
from eximcertd.certificates.parsing import parse
from eximcertd.decisions.decide import Decider
from eximcertd.errors import UsageError
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.ledger import Ledger
from eximcertd.ledger.identities import Identity as Kept
from eximcertd.log.sighting import ShownCertificate, Sighting
from eximcertd.maintenance.arrivals import Arrivals
from eximcertd.maintenance.expiry import Expiry
from eximcertd.maintenance.renewals import Renewals
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

UNKNOWN = Fingerprint("AB" * 32)


class Desk:
    """A ledger and a directory of certificates. told: what the watchers were told."""

    def __init__(self, directory: Path) -> None:
        for name in ("ledger", "certificates"):
            (directory / name).mkdir()
        self.certificates = directory / "certificates"
        self.ledger, self.records = Ledger(directory / "ledger"), Records()
        self.index = Index(self.certificates)
        self.lookup = CertificateLookup(self.index, self.ledger.shown.of)
        self.arrivals = Arrivals(self.ledger, self.lookup, Issuers(self.index), self.records)
        self.told: list[Sequence[Fingerprint]] = []
        self.arrivals.watchers.append(self.told.append)
        self.renewals = Renewals(self.ledger, Decider(self.ledger, self.records))

    def see(self, *fingerprints: Fingerprint) -> None:
        """Let clients be refused."""
        seen = [Sighting(one, 1, 1, 1) for one in fingerprints]
        self.ledger.sightings.record("file", "1", seen, self.index.__contains__)

    def show(self, *certificates: bytes) -> list[Fingerprint]:
        """Let clients be refused whose certificates the log brings; return those that are new in the queue."""
        seen = [
            Sighting(of_der(der), 1, 1, 1, None, ShownCertificate(der, "0" * 64, parse(der).subject))
            for der in certificates
        ]
        return self.ledger.sightings.record("file", "1", seen, self.index.__contains__)

    def approve(self, who: Identity) -> None:
        """Approve a certificate of the directory."""
        self.index.refresh()
        decide(self.ledger, Verb.APPROVE, who.fingerprint)
        self.ledger.identities.keep([Kept.of(parse(who.der))])

    def remove(self, *identities: Identity) -> list[Fingerprint]:
        """Remove certificates from the directory; return those of which an event tells that they are gone."""
        for who in identities:
            for file in {who.certificate, who.chain}:
                file.unlink()

        def vanished() -> bool:
            self.index.refresh()
            self.index.refresh(self.index.unsettled())
            return not any(who.fingerprint in self.index for who in identities)

        until(vanished, "they have vanished")
        asyncio.run(self.arrivals.gone([who.fingerprint for who in identities]))
        told = self.records.kept
        return [Fingerprint(of["FINGERPRINT"]) for event, _, of in told if event is Event.CERTIFICATE_GONE]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.ledger.close()


def test_a_client_whose_certificate_appears_is_pending_from_then_on_and_told_with_its_name(desk: Desk) -> None:
    laptop = make(desk.certificates, "laptop.example")
    desk.see(laptop.fingerprint, UNKNOWN)
    desk.arrivals.match()
    assert (desk.records.kept, desk.told) == ([], [])
    desk.index.refresh()
    for _ in range(2):
        desk.arrivals.match()
    message = f"A client with certificate {laptop.fingerprint} was refused and waits for a decision"
    fields = {"FINGERPRINT": laptop.fingerprint, "SUBJECT": "CN=laptop.example"}
    assert desk.records.kept == [(Event.ATTEMPT_SEEN, message, fields)]
    assert desk.told == [[laptop.fingerprint]]


def test_a_client_whose_certificate_went_again_is_told_without_a_name(desk: Desk) -> None:
    desk.arrivals.pending([UNKNOWN])
    assert desk.records.kept[0][2] == {"FINGERPRINT": UNKNOWN, "SUBJECT": ""}


@pytest.mark.parametrize(("clients", "events"), [(100, 100), (101, 1)])
def test_more_than_a_hundred_at_once_are_one_event(desk: Desk, clients: int, events: int) -> None:
    fresh = [Fingerprint(f"{number:064X}") for number in range(clients)]
    desk.arrivals.pending(fresh)
    assert desk.records.events() == [Event.ATTEMPT_SEEN] * events
    if events == 1:
        assert desk.records.kept[0][1:] == ("101 clients were refused and wait for a decision", {"COUNT": "101"})
    assert desk.told == [fresh]


def test_of_what_vanishes_only_what_is_approved_and_not_verified_without_it_is_told(desk: Desk) -> None:
    ca = make_ca(desk.certificates)
    approved, pending = (make(desk.certificates, f"{name}.example") for name in ("laptop", "other"))
    issued = make(desk.certificates, "issued.example", issuer=ca)
    for who in (approved, issued):
        desk.approve(who)
    desk.see(pending.fingerprint)
    assert desk.remove(approved, pending, issued) == [approved.fingerprint], "the CA verifies the other one"
    assert desk.remove(ca) == [approved.fingerprint], "nobody approved it"
    assert asyncio.run(desk.arrivals.unverified([issued.fingerprint])) == [issued.fingerprint]
    desk.records.kept.clear()
    asyncio.run(desk.arrivals.gone([issued.fingerprint]))
    assert "is approved and gone from the directory" in desk.records.kept[0][1]


def test_what_is_still_there_or_was_never_known_is_not_called_gone(desk: Desk) -> None:
    laptop = make(desk.certificates, "laptop.example")
    desk.approve(laptop)
    decide(desk.ledger, Verb.APPROVE, UNKNOWN)
    asyncio.run(desk.arrivals.gone([laptop.fingerprint, UNKNOWN]))
    assert desk.records.kept == []


def test_the_same_key_renews_before_the_same_name_and_what_renews_nothing_is_refused(desk: Desk) -> None:
    old = make(desk.certificates, "relay.example", stem="old")
    desk.approve(old)
    same_key, same_name, other = (
        parse(make(desk.certificates, name, key=key, stem=f"{number}").der)
        for number, (name, key) in enumerate([("new.example", old.private), ("relay.example", "ec"), ("x", "ec")])
    )
    approvals = desk.renewals.approvals([same_key, same_name, other])
    found = [approvals.followed_by(one) for one in (same_key, same_name, other)]
    assert [(one.of.fingerprint, one.of.by, one.same_key) if one else None for one in found] == [
        (old.fingerprint, "alice", True),
        (old.fingerprint, "alice", False),
        None,
    ]
    assert abs((datetime.now(UTC) - found[0].of.at).total_seconds()) < 600 if found[0] else False
    given = {one.fingerprint: one for one in (same_key, other)}
    end = parse(old.der).not_after
    assert end is not None
    assert desk.renewals.replaced_by([same_key.fingerprint], given) == {old.fingerprint: int(end.timestamp() * 1000)}
    for wrong in (other.fingerprint, UNKNOWN):
        with pytest.raises(UsageError, match=f"{wrong} renews no approved certificate: leave --replace out"):
            desk.renewals.replaced_by([same_key.fingerprint, wrong], given)


def test_what_is_replaced_is_revoked_at_the_given_time_or_else_at_its_end_and_not_without_one(desk: Desk) -> None:
    one, two, three = (Fingerprint(f"{number:064X}") for number in (1, 2, 3))
    decide(desk.ledger, Verb.APPROVE, one, two, three)
    desk.renewals.schedule({one: 5000, two: None}, None)
    desk.renewals.schedule({three: 5000}, datetime.fromtimestamp(7, UTC))
    assert [desk.renewals.revoke_due(now) for now in (4.999, 5, 6.999, 7, time.time())] == [[], [one], [], [three], []]
    assert [desk.ledger.entries.get(name).status for name in (one, two, three)] == [
        Status.REVOKED,
        Status.APPROVED,
        Status.REVOKED,
    ]


def test_the_names_of_approved_certificates_are_kept_for_when_their_files_are_gone(desk: Desk) -> None:
    laptop = make(desk.certificates, "laptop.example")
    other = make(desk.certificates, "other.example")
    decide(desk.ledger, Verb.APPROVE, laptop.fingerprint, other.fingerprint, UNKNOWN)
    desk.index.refresh()
    expiry = Expiry(desk.ledger, desk.lookup, desk.records)
    for which, kept in (([laptop.fingerprint, UNKNOWN], 1), (None, 2)):
        asyncio.run(expiry.learn(which))
        assert len(desk.ledger.identities.among([laptop.fingerprint, other.fingerprint, UNKNOWN])) == kept


def test_the_dates_of_an_approved_certificate_that_only_its_client_has_shown_are_kept(
    desk: Desk, tmp_path: Path
) -> None:
    laptop = make(tmp_path, "laptop.example")
    desk.show(laptop.der)
    decide(desk.ledger, Verb.APPROVE, laptop.fingerprint)
    asyncio.run(Expiry(desk.ledger, desk.lookup, desk.records).learn())
    kept = desk.ledger.identities.among([laptop.fingerprint])[laptop.fingerprint]
    assert kept.subject == "CN=laptop.example"
    assert kept.not_after is not None
    assert desk.ledger.lapses.next_change(kept.not_after - 1) is not None
    assert asyncio.run(desk.arrivals.unverified([laptop.fingerprint])) == [], "no file had it, so none is gone"


def test_an_approved_certificate_whose_file_came_after_its_client_is_reported_when_the_file_is_gone(desk: Desk) -> None:
    laptop = make(desk.certificates, "laptop.example")
    desk.show(laptop.der)
    desk.approve(laptop)
    desk.arrivals.match()
    assert desk.told == [], "it is not new in the queue"
    assert desk.remove(laptop) == [laptop.fingerprint]


def test_clients_that_show_their_certificates_are_told_by_name_and_a_flood_of_them_in_one_event(
    desk: Desk, tmp_path: Path
) -> None:
    certificate = series(tmp_path)
    desk.arrivals.pending(desk.show(certificate(0)))
    desk.arrivals.pending(desk.show(*(certificate(number) for number in range(200))))
    told = [fields for event, _, fields in desk.records.kept if event is Event.ATTEMPT_SEEN]
    assert [one.get("SUBJECT") for one in told] == ["CN=client.example", None]
    assert told[1]["COUNT"] == "199"
    assert [len(fresh) for fresh in desk.told] == [1, 199]
