"""The line that brings a certificate: what it takes to be believed, and how it finds its attempt."""

from __future__ import annotations

import ast
import base64
import gzip
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.certificates import make
from lab.log import Log, Looking, Twin
from lab.shown import ISSUER, attempt_lines, certificate_line, syslog_parts

from eximcertd.fingerprint import of_der
from eximcertd.log.aggregator import CERTIFICATE_WITHIN, Aggregator
from eximcertd.log.backlog import LENGTH, Backlog
from eximcertd.log.buffer import BUFFER_LENGTH
from eximcertd.log.certificate_line import LARGEST, match_certificate, shown_certificate
from eximcertd.log.line import DEFAULT_MESSAGE, LONGEST_ENTRY, Grammar
from eximcertd.log.syslog import SyslogEntries

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.log.sighting import ShownCertificate, Sighting

AT = datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC)
STAMP = "2026-11-22 17:03:03"
HELO = f"{STAMP} H=(%s) [192.0.2.1] X=TLS1.3 CV=no F=<s@example> rejected RCPT <r@example>: relay not permitted\n"


def decoded(line: str) -> ShownCertificate | None:
    found = match_certificate(line.rstrip("\n").encode())
    return found.decoded() if found else None


@pytest.mark.parametrize(
    "stamp",
    ["", STAMP, f"{STAMP}.123 +0100 [4711]", f"{STAMP} [4711] 1xVAyN-00064E-0s", f"{STAMP} 1vAyN0-000000064E0-0sab"],
)
def test_it_brings_the_certificate_with_the_name_that_it_claims(alice: Identity, stamp: str) -> None:
    shown = decoded(certificate_line(alice, stamp).lstrip())
    assert shown is not None
    assert (shown.der, shown.issuer_hash, shown.subject) == (alice.der, ISSUER, "CN=laptop.alice.example")


def test_it_is_believed_only_if_the_certificate_is_the_one_of_the_fingerprint(
    alice: Identity, mallory: Identity
) -> None:
    line = certificate_line(alice)
    for other in (
        line.replace(alice.fingerprint, mallory.fingerprint),
        line.replace(alice.fingerprint, alice.fingerprint.lower()),
        line.replace(" MII", " MIJ"),
        certificate_line(alice, text="-"),
        certificate_line(alice, text="MII"),
        certificate_line(alice, text=""),
        line.replace(ISSUER, ISSUER[1:]),
        line.replace(ISSUER, ISSUER.lower()),
        line.replace("Certificate of", "certificate of"),
        " " + line,
        line.rstrip() + " ",
        line.rstrip() + "\n" + "x",
        "EHLO " + line,
    ):
        assert decoded(other) is None


def test_what_is_no_certificate_or_too_long_is_left_out() -> None:
    for der in (b"no certificate", b"\x30\x03\x02\x01\x00", b"\x30" * (LARGEST + 1), b""):
        text = base64.b64encode(der).decode()
        assert shown_certificate(of_der(der), text, ISSUER) is None
    assert shown_certificate(of_der(b""), "é", ISSUER) is None


def test_a_line_longer_than_any_of_exims_brings_nothing(alice: Identity) -> None:
    assert match_certificate(certificate_line(alice, text="A" * LONGEST_ENTRY).rstrip().encode()) is None


@given(st.binary(max_size=300))
def test_no_bytes_from_outside_raise_an_exception(text: bytes) -> None:
    match_certificate(text)
    shown_certificate(of_der(text), text, ISSUER)
    shown_certificate(of_der(text), base64.b64encode(text), ISSUER)


def scanned(path: Path, text: str) -> dict[Fingerprint, Sighting]:
    """Return what a scan of a log finds."""
    path.write_text(text)
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    plain, unpacked = (
        {s.fingerprint: s for portion in Backlog(Grammar(), UTC).read(str(file), ()) for s in portion.sightings}
        for file in (path, packed)
    )
    assert plain == unpacked
    return plain


def followed(path: Path, *texts: str) -> Twin:
    """Return what a follower finds that looks after each of these writes, and is killed between."""
    log, looking = Log(path), Looking(path)
    for text in texts:
        log.raw(text.encode())
        looking.look()
        looking.kill()
    return looking.twin


def test_each_attempt_has_its_own_certificate_however_the_lines_of_processes_interleave(
    alice: Identity, mallory: Identity, tmp_path: Path
) -> None:
    one, two = attempt_lines(alice).splitlines(keepends=True), attempt_lines(mallory).splitlines(keepends=True)
    noise = [f"{STAMP} no host name found for IP address 192.0.2.1\n"] * 20
    lines = [one[0], *noise, two[0], *noise, one[1], two[1], *one]
    found = scanned(tmp_path / "mainlog", "".join(lines))
    assert {name: (of.attempts, of.certificate.der) for name, of in found.items() if of.certificate} == {
        alice.fingerprint: (2, alice.der),
        mallory.fingerprint: (1, mallory.der),
    }


def test_it_counts_no_attempt_and_an_attempt_without_it_counts(alice: Identity, tmp_path: Path) -> None:
    assert scanned(tmp_path / "one", certificate_line(alice) * 3) == {}
    found = scanned(tmp_path / "two", attempt_lines(alice).splitlines(keepends=True)[1])
    assert [(of.attempts, of.certificate) for of in found.values()] == [(1, None)]


def test_a_client_that_is_called_like_the_line_hides_no_certificate(alice: Identity, tmp_path: Path) -> None:
    first, second = attempt_lines(alice).splitlines(keepends=True)
    forged = HELO % first.rstrip().removeprefix(f"{STAMP} ")
    found = scanned(tmp_path / "mainlog", first + forged * 3 + second)
    assert [of.certificate is not None for of in found.values()] == [True]
    found = scanned(tmp_path / "mainlog", forged + second)
    assert [of.certificate for of in found.values()] == [None]


@pytest.mark.parametrize("between", [CERTIFICATE_WITHIN - 3000, CERTIFICATE_WITHIN + 3000])
def test_it_is_looked_for_in_a_bounded_part_of_the_log(alice: Identity, tmp_path: Path, between: int) -> None:
    first, second = attempt_lines(alice).splitlines(keepends=True)
    noise = f"{STAMP} no host name found for IP address 192.0.2.1\n"
    found = scanned(tmp_path / "mainlog", first + noise * (between // len(noise)) + second)
    assert (found[alice.fingerprint].certificate is not None) == (between < CERTIFICATE_WITHIN)


def test_in_a_log_without_such_lines_it_is_soon_looked_for_in_the_line_before_only(
    identities: Path, tmp_path: Path
) -> None:
    late, prompt = make(identities, "late.example"), make(identities, "prompt.example")
    others = "".join(f"{STAMP} {DEFAULT_MESSAGE} {number:064X}\n" for number in range(100))
    apart = f"\n{STAMP} no host name found for IP address 192.0.2.1\n".join(attempt_lines(late).splitlines()) + "\n"
    found = scanned(tmp_path / "mainlog", others + apart + attempt_lines(prompt) + apart)
    assert found[prompt.fingerprint].certificate is not None
    assert found[late.fingerprint].certificate is not None, "lines were found since"
    assert scanned(tmp_path / "mainlog", others + apart)[late.fingerprint].certificate is None


def test_it_is_found_where_the_reader_was_killed_between_the_two_lines(alice: Identity, tmp_path: Path) -> None:
    first, second = attempt_lines(alice).splitlines(keepends=True)
    noise = f"{STAMP} no host name found for IP address 192.0.2.1\n" * 500
    for number, before in enumerate(("", noise)):
        twin = followed(tmp_path / f"log{number}", before + first, second)
        assert (twin.counts, twin.certificates) == ({alice.fingerprint: 1}, {alice.fingerprint: alice.der})
    assert followed(tmp_path / "far", first + noise, second).certificates == {}


@pytest.mark.parametrize("at", [BUFFER_LENGTH, LENGTH])
def test_it_is_found_where_a_piece_ends_between_the_two_lines_or_in_one(
    alice: Identity, tmp_path: Path, at: int
) -> None:
    first, second = attempt_lines(alice).splitlines(keepends=True)
    noise = f"{STAMP} no host name found for IP address 192.0.2.1\n"
    for cut in (10, len(first) - 10, len(first), len(first) + 10):
        before = at - cut
        text = noise * (before // len(noise) - 1)
        text += noise[:20] + "x" * (before - len(text) - 21) + "\n"
        assert len(text) == before
        found = scanned(tmp_path / "mainlog", text + first + second + noise)
        assert found[alice.fingerprint].certificate is not None, cut
        assert followed(tmp_path / f"live{at}{cut}", text + first + second + noise).certificates, cut


def test_syslog_brings_it_in_parts_of_several_processes_at_once(alice: Identity, identities: Path) -> None:
    big = make(identities, "big.example", key="rsa", names=[f"name{number}.example" for number in range(60)])
    aggregator = Aggregator(Grammar(), UTC)
    entries = SyslogEntries(Grammar(), aggregator)
    one, two = ([p for line in attempt_lines(of).splitlines() for p in syslog_parts(line)] for of in (alice, big))
    assert len(two) > 3
    forged = certificate_line(alice, text="AAAA").rstrip("\n").replace("Certificate of", "x Certificate of")
    for number in range(max(len(one), len(two))):
        for pid, some in ((11, one), (12, two)):
            if number < len(some):
                entries.read(some[number].encode(), pid, AT)
        entries.read(forged.encode(), 13, AT)
        entries.restore(ast.literal_eval(repr(entries.parts())))
    found = {sighting.fingerprint: sighting for sighting in aggregator.take()}
    assert {name: (of.attempts, of.certificate.der) for name, of in found.items() if of.certificate} == {
        alice.fingerprint: (1, alice.der),
        big.fingerprint: (1, big.der),
    }
