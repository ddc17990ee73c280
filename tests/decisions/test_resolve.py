"""A prefix is looked for in all that is known, ledger and directory, and an ambiguous one decides nothing."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.deciding import decide
from lab.wait import until

from eximcertd.certificates.index import Index
from eximcertd.certificates.issuers import Issuers
from eximcertd.certificates.parsing import parse
from eximcertd.certificates.snapshot import Snapshot
from eximcertd.decisions.resolve import Resolver
from eximcertd.errors import NoSuchFingerprintError, UsageError
from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.ledger import Ledger
from eximcertd.log.sighting import Sighting
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Known:
    """A ledger and a directory of certificates."""

    def __init__(self, directory: Path) -> None:
        (directory / "ledger").mkdir()
        self.certificates = directory / "certificates"
        self.certificates.mkdir()
        self.ledger = Ledger(directory / "ledger")
        self.index = Index(self.certificates)
        self.resolver = Resolver(self.ledger, self.index)

    def see(self, *fingerprints: str) -> None:
        """Let clients with these certificates be refused."""
        attempts = [Sighting(Fingerprint(one), 1, 1, 1) for one in fingerprints]
        self.ledger.sightings.record("file", "1", attempts, self.index.__contains__)

    def resolve(self, *texts: str, verb: Verb | None = Verb.APPROVE) -> list[Fingerprint]:
        return asyncio.run(self.resolver.resolve(texts, verb=verb))


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    known = Known(tmp_path)
    yield known
    known.ledger.close()


def sharing_eight_digits(one: bytes, other: bytes) -> tuple[bytes, bytes]:
    """Return both certificates with the last bytes of their signatures altered until they share eight digits.

    Two of 2^32 are to meet: about 2^16 of each do, in a second.
    """
    found: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
    for number in range(10_000_000):
        for der, own, others in ((one, *found), (other, *found[::-1])):
            altered = der[:-4] + number.to_bytes(4, "big")
            head = hashlib.sha256(altered).digest()[:4]
            own[head] = altered
            if head in others:
                return found[0][head], found[1][head]
    raise AssertionError("no two certificates met")


def test_two_certificates_that_share_eight_digits_are_told_apart_though_one_lies_only_in_the_directory(
    known: Known, tmp_path: Path
) -> None:
    ders = (make(tmp_path, f"{name}.example").der for name in ("victim", "mallory"))
    victim, mallory = sharing_eight_digits(*ders)
    (known.certificates / "victim.der").write_bytes(victim)
    known.index.refresh()
    known.see(of_der(mallory))
    digits = of_der(victim)[:8]
    with pytest.raises(NoSuchFingerprintError, match="ambiguous") as caught:
        known.resolve(digits)
    assert set(caught.value.candidates) == {of_der(victim), of_der(mallory)}
    assert known.resolve(of_der(victim)[:16]) == [of_der(victim)]


def test_what_only_the_log_has_shown_takes_sixteen_digits_to_be_decided_on(known: Known) -> None:
    seen = "A" * 64
    known.see(seen)
    with pytest.raises(NoSuchFingerprintError, match="only the log has shown") as caught:
        known.resolve(seen[:15])
    assert caught.value.candidates == (seen,)
    assert "16 digits" in caught.value.hint
    assert known.resolve(seen[:16]) == [seen]
    assert known.resolve(seen[:8], verb=None) == [seen], "to look at it takes no more than eight"


def test_a_rejected_one_that_only_the_log_has_shown_takes_sixteen_digits_to_be_approved(known: Known) -> None:
    rejected = Fingerprint("D" * 64)
    known.see(rejected)
    decide(known.ledger, Verb.REJECT, rejected)
    with pytest.raises(NoSuchFingerprintError, match="only the log has shown"):
        known.resolve(rejected[:15])
    assert known.resolve(rejected[:16]) == [rejected]
    assert known.resolve(rejected[:8], verb=Verb.REVOKE) == [rejected]


def test_what_was_decided_before_or_lies_in_the_directory_takes_eight_digits(known: Known) -> None:
    decided = Fingerprint("B" * 64)
    decide(known.ledger, Verb.APPROVE, decided)
    here = make(known.certificates, "here.example")
    known.index.refresh()
    assert known.resolve(decided[:8], here.fingerprint[:8].lower()) == [decided, here.fingerprint]


def test_a_whole_fingerprint_is_taken_though_nothing_is_known_of_it(known: Known) -> None:
    assert known.resolve("c" * 64, "C" * 64) == ["C" * 64]


@pytest.mark.parametrize(
    ("text", "error"), [("ABCDEF01", NoSuchFingerprintError), ("ABC", UsageError), ("", UsageError)]
)
def test_what_names_nothing_is_refused(known: Known, text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        known.resolve(text)


def test_candidates_beyond_ten_are_not_listed(known: Known) -> None:
    known.see(*(f"ABCDEF01{n:056X}" for n in range(30)))
    with pytest.raises(NoSuchFingerprintError) as caught:
        known.resolve("ABCDEF01")
    assert len(caught.value.candidates) == 10


def test_who_issued_whom_follows_the_directory(known: Known, tmp_path: Path) -> None:
    authority = make(known.certificates, "authority.example", ca=True)
    same_name = make(known.certificates, "authority.example", ca=True, stem="another-of-the-name")
    issuers = Issuers(known.index)
    known.index.refresh()
    issuers.refresh()
    assert not issuers.has_issued(parse(authority.der)), "self-signed ones of one name have not issued each other"
    leaf = make(known.certificates, "leaf.example", issuer=authority)
    known.index.refresh()
    issuers.refresh()
    assert issuers.has_issued(parse(authority.der))
    assert issuers.has_authority(parse(leaf.der).issuer)
    assert not issuers.has_issued(parse(leaf.der))
    leaf.certificate.unlink()
    leaf.chain.unlink()
    same_name.certificate.unlink()
    authority.certificate.unlink()

    def forgotten() -> bool:
        known.index.refresh()
        known.index.refresh(known.index.unsettled())
        issuers.refresh()
        return not issuers.has_authority(parse(leaf.der).issuer)

    until(forgotten, "what has gone from the directory is no authority any more")


def test_ten_thousand_unknown_prefixes_over_a_million_certificates_leave_the_loop_to_others(known: Known) -> None:
    digests = [hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(1_000_000)]
    known.index._snapshot = Snapshot(files=dict.fromkeys(digests, b"bundle.pem"))
    texts = [hashlib.sha256(b"%d" % number).hexdigest()[:16] for number in range(9_999)] + [digests[7].hex()[:16]]

    async def longest_hold() -> float:
        """Resolve, and return for how many seconds of processor time nobody else had a turn at most."""
        resolving = asyncio.create_task(known.resolver.resolve(texts))
        longest, before = 0.0, time.thread_time()
        while not resolving.done():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now
        with pytest.raises(NoSuchFingerprintError):
            resolving.result()
        return longest

    assert asyncio.run(longest_hold()) < 0.5
    assert known.resolve(texts[-1]) == [digests[7].hex().upper()]
