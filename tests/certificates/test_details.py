"""What is shown of a certificate, whichever library reads it and even where none does."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from lab.certificates import DAY, Identity, make, make_ca, make_expired, make_weak, new_key

from eximcertd.certificates.der import first_element, is_certificate
from eximcertd.certificates.parsing import MOST_NAMES, parse

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC).replace(microsecond=0)


def said_by_openssl(identity: Identity, *options: str) -> str:
    command = ["/usr/bin/openssl", "x509", "-in", str(identity.certificate), "-noout", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def altered(der: bytes, old: bytes, new: bytes) -> bytes:
    """Return ``der`` with bytes replaced by as many others, once."""
    assert len(old) == len(new)
    assert der.count(old) >= 1
    return der.replace(old, new, 1)


def test_all_fields_are_those_that_openssl_reads(tmp_path: Path) -> None:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Müller, Söhne + Co"),
            x509.NameAttribute(NameOID.COMMON_NAME, "laptop"),
        ]
    )
    ca = make_ca(tmp_path)
    one = make(tmp_path, "laptop", subject=subject, issuer=ca, names=["a.example", "b.example"])
    shown = parse(one.der)
    assert shown.subject == "CN=laptop,O=Müller\\, Söhne \\+ Co,C=DE"
    assert f"subject={shown.subject}" == said_by_openssl(one, "-subject", "-nameopt", "RFC2253,utf8,-esc_msb")
    assert f"issuer={shown.issuer}" == said_by_openssl(one, "-issuer", "-nameopt", "RFC2253")
    assert f"serial={shown.serial.zfill(len(shown.serial) + len(shown.serial) % 2)}" == said_by_openssl(one, "-serial")
    ends = said_by_openssl(one, "-enddate").partition("=")[2]
    assert shown.not_after == datetime.strptime(ends, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    begins = said_by_openssl(one, "-startdate").partition("=")[2]
    assert shown.not_before == datetime.strptime(begins, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert shown.names == ("a.example", "b.example")
    assert not shown.ca
    assert shown.problem == ""
    assert shown.fingerprint == one.fingerprint


@pytest.mark.parametrize(
    ("kind", "key"), [("ec", "EC P-256"), ("ed25519", "Ed25519"), ("rsa", "RSA 2048"), ("rsa1024", "RSA 1024")]
)
def test_the_key_is_named(tmp_path: Path, kind: str, key: str) -> None:
    assert parse(make(tmp_path, "client", key=kind).der).key == key


def test_the_key_digest_is_that_of_the_public_key_and_stays_over_a_renewal(tmp_path: Path) -> None:
    key = new_key("ec")
    old = parse(make(tmp_path, "old", key=key).der)
    new = parse(make(tmp_path, "new", key=key).der)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public)
    assert old.spki == new.spki == digest.finalize().hex()
    assert old.fingerprint != new.fingerprint


def test_names_of_every_kind_are_shown(tmp_path: Path) -> None:
    key = new_key("ec")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    names = [
        x509.DNSName("a.example"),
        x509.RFC822Name("who@a.example"),
        x509.UniformResourceIdentifier("https://a.example/"),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.DirectoryName(name),
    ]
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    built = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    der = built.public_bytes(serialization.Encoding.DER)
    assert parse(der).names == ("a.example", "who@a.example", "https://a.example/", "2001:db8::1", "CN=x")


def test_the_first_hundred_names_of_thousands_are_shown(tmp_path: Path) -> None:
    many = make(tmp_path, "many", names=[f"host{number}.example" for number in range(3000)])
    assert parse(many.der).names == tuple(f"host{number}.example" for number in range(MOST_NAMES))


@pytest.mark.parametrize("serial", [b"\x00", b"\xff", b"\x80"])
def test_a_serial_number_that_libraries_refuse_is_shown_all_the_same(tmp_path: Path, serial: bytes) -> None:
    der = altered(make(tmp_path, "odd.example", serial=1).der, b"\x02\x01\x01\x30", b"\x02\x01" + serial + b"\x30")
    shown = parse(der)
    assert is_certificate(der)
    assert shown.subject == "CN=odd.example"
    assert shown.serial == f"{int.from_bytes(serial, 'big', signed=True):X}"
    assert shown.not_after is not None
    assert shown.key == "EC P-256" or (shown.problem and shown.key == "EC")


def test_a_broken_extension_leaves_the_rest_to_be_shown(tmp_path: Path) -> None:
    der = make(tmp_path, "broken.example", names=["broken.example"]).der
    broken = altered(der, b"\x82\x0ebroken.example", b"\x82\x1ebroken.example")
    shown = parse(broken)
    assert shown.subject == "CN=broken.example"
    assert shown.key == "EC P-256"
    assert shown.names == ()
    assert shown.problem
    assert any("cannot be read in full" in warning for warning in shown.warnings(NOW))


def test_a_ca_whose_certificate_libraries_refuse_is_still_known_for_a_ca(tmp_path: Path) -> None:
    der = make(tmp_path, "ca.example", ca=True, key="rsa").der
    broken = altered(der, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09")  # a version that does not exist
    shown = parse(broken)
    assert shown.problem
    assert shown.ca
    assert shown.subject == "CN=ca.example"
    assert shown.key == "RSA 2048"
    assert shown.spki == parse(der).spki
    assert (shown.not_before, shown.not_after) == (parse(der).not_before, parse(der).not_after)


def test_bytes_that_are_no_certificate_are_shown_by_their_hash(tmp_path: Path) -> None:
    shown = parse(b"\x30\x03\x02\x01\x01")
    assert shown.problem
    assert shown.subject == ""
    assert shown.not_after is None
    assert shown.as_json(NOW)["not_after"] is None
    assert not shown.expired(NOW)


def test_a_strangers_text_is_escaped_in_json(tmp_path: Path) -> None:
    name = "evil\x1b]0;x\x07\nline\u202egro.example"
    hostile = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.TITLE, "\r")])
    shown = parse(make(tmp_path, "evil", subject=hostile, names=["evil\x1b.example"]).der)
    text = json.dumps(shown.as_json(NOW), ensure_ascii=False)
    assert json.loads(text)["subject"] == "2.5.4.12=\\r,CN=evil\\x1b]0\\;x\\x07\\nline\\u202egro.example"
    assert json.loads(text)["names"] == ["evil\\x1b.example"]
    assert text.isprintable()


def test_json_has_the_documented_fields_and_times_in_utc(alice: Identity) -> None:
    said = parse(alice.der).as_json(NOW)
    assert [*said][:9] == ["subject", "issuer", "serial", "not_before", "not_after", "names", "key", "ca", "files"]
    assert said["subject"] == "CN=laptop.alice.example"
    assert datetime.fromisoformat(said["not_after"]).tzinfo == UTC
    assert said["not_after"].endswith("Z")
    assert said["expired"] is False
    assert said["warnings"] == []
    assert said["problem"] is None


def test_a_certificate_counts_as_valid_at_both_of_its_ends(tmp_path: Path) -> None:
    second = timedelta(seconds=1)
    shown = parse(make(tmp_path, "x", not_before=NOW - DAY, not_after=NOW).der)
    assert not shown.expired(NOW)
    assert shown.expired(NOW + second)
    assert not shown.not_yet_valid(NOW - DAY)
    assert shown.not_yet_valid(NOW - DAY - second)


def test_expiry_is_told_ahead_and_counted_afterwards(tmp_path: Path) -> None:
    shown = parse(make(tmp_path, "x", not_before=NOW - 60 * DAY, not_after=NOW).der)
    assert shown.expires_within(NOW - 29 * DAY, 30 * DAY)
    assert not shown.expires_within(NOW - 30 * DAY, 30 * DAY)
    assert not shown.expires_within(NOW + DAY, 30 * DAY), "it has expired already"


def test_an_expired_one_and_one_of_tomorrow_are_warned_of(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    assert parse(make_expired(tmp_path, "old").der).warnings(now) == [f"expired on {now - DAY:%Y-%m-%d}"]
    early = make(tmp_path, "early", not_before=now + DAY, not_after=now + 2 * DAY)
    assert parse(early.der).warnings(now) == [f"not valid before {now + DAY:%Y-%m-%d}"]


def test_what_is_weak_or_powerful_is_warned_of(tmp_path: Path) -> None:
    def warned(identity: Identity) -> str:
        (said,) = parse(identity.der).warnings(NOW + 10 * DAY)
        return said

    root = make_ca(tmp_path)
    assert parse(root.der).warnings(NOW + 10 * DAY) == []  # as openssl req -x509 makes one for a client
    assert warned(make(tmp_path, "sub", ca=True, issuer=root)).startswith("is a CA certificate")
    assert warned(make_weak(tmp_path, "weak")).startswith("has a short key: RSA 1024")
    assert warned(make(tmp_path, "nameless", subject=x509.Name([]), names=[])).startswith("has no name at all")
    assert parse(make(tmp_path, "by-san", subject=x509.Name([]), names=["a.example"]).der).warnings(NOW + DAY) == []


@pytest.mark.parametrize(
    ("digest", "oid", "weak"),
    [("SHA-1", b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", True), ("MD5", b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", True)],
)
def test_a_weak_signature_is_warned_of(tmp_path: Path, digest: str, oid: bytes, weak: bool) -> None:
    der = make(tmp_path, "signed", key="rsa").der.replace(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", oid)
    assert parse(der).warnings(datetime.now(UTC)) == [f"has a weak signature: {digest} can be forged"]


def test_only_the_first_element_of_what_a_block_holds_counts(alice: Identity) -> None:
    assert first_element(alice.der + b"trailing") == alice.der
    assert first_element(alice.der[:-1]) is None
    assert first_element(b"") is None
