"""Which client's certificates an approved authority vouches for: the attacks of docs/design.md, "Authorities", by hand.

Each attack is a certificate that Exim alone verifies, or that names the authority as its issuer.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from lab.authorities import ANY_PURPOSE, CLIENT, EMAIL, NOW, SERVER, Signer, by_openssl
from lab.certificates import DAY, new_key

from eximcertd.authorities.authority import Authority
from eximcertd.authorities.crl import read_crl
from eximcertd.authorities.leaf import Enrolled, verify
from eximcertd.authorities.signature import SignatureError, verify_signature
from eximcertd.certificates import der as walk

SITE = Signer("Site CA")
X = Authority.of(SITE.der)
PUBLIC = Signer("Another CA")
CLIENT_CA = Signer("laptop.example")  # what `openssl req -x509` makes: self-signed, CA:TRUE
SHA256_RSA, UNKNOWN_RSA = (bytes.fromhex(f"06092a864886f70d0101{end}") for end in ("0b", "63"))


def outcome(der: bytes, *authorities: Authority, **crls: Any) -> Enrolled | str:
    return verify(der, authorities or (X,), NOW + timedelta(hours=1), crls.get("crls", {}))


def reason(leaf: Signer | bytes, *authorities: Authority, **crls: Any) -> str:
    found = outcome(leaf if isinstance(leaf, bytes) else leaf.der, *authorities, **crls)
    assert isinstance(found, str), found
    return found


HONEST = {
    "without an extended key usage": {},
    "for the authentication of clients": {"purposes": [CLIENT]},
    "for clients and servers": {"purposes": [SERVER, CLIENT]},
    "for any purpose": {"purposes": [ANY_PURPOSE]},
    "without basic constraints": {"ca": None},
    "RSA": {"key": "rsa"},
    "Ed25519": {"key": "ed25519"},
    "Ed448": {"key": ed448.Ed448PrivateKey.generate()},
    "SHA-512": {"digest": hashes.SHA512()},
}


@pytest.mark.parametrize("more", HONEST.values(), ids=HONEST)
def test_an_honest_certificate_of_the_authority_is_enrolled(more: dict[str, Any]) -> None:
    leaf = SITE.issue("client7.example", **more)
    found = outcome(leaf.der)
    assert found == Enrolled(X, leaf.serial, leaf.not_before, leaf.not_after)


@pytest.mark.parametrize("key", ["rsa", "ec", "ed25519"])
def test_authorities_with_every_kind_of_key_sign(key: str) -> None:
    signer = Signer("Site CA", key=key)
    assert isinstance(outcome(signer.issue("client7.example").der, Authority.of(signer.der)), Enrolled)


def test_an_rsa_pss_signature_is_accepted_with_sha256_and_not_with_less() -> None:
    signer = Signer("Site CA", key="rsa")
    assert isinstance(outcome(pss(signer, "sha256"), Authority.of(signer.der)), Enrolled)
    assert "RSA-PSS with less than SHA-256" in reason(pss(signer, "sha1"), Authority.of(signer.der))


def pss(signer: Signer, digest: str) -> bytes:
    options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
    return openssl_leaf(signer, f"-{digest}", *options, extensions="basicConstraints=CA:FALSE")


def openssl_leaf(signer: Signer, *options: str, extensions: str = "") -> bytes:
    with tempfile.TemporaryDirectory() as name:
        return by_openssl(signer, Path(name), *options, extensions=extensions).der


def twin(**more: Any) -> Signer:
    """Return a certificate with the authority's name and another key."""
    return Signer("Site CA", **more)


def attacks() -> dict[str, tuple[Signer | bytes, str]]:
    key_id = x509.SubjectKeyIdentifier.from_public_key(SITE.private.public_key())
    authority_key_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)
    below = Signer("Site Intermediate", SITE, pathlen=0)
    not_signed = "the authority's key has not signed it"
    return {
        "of an intermediate of the authority": (below.issue("client7.example"), ""),
        "of an authority below one with path length 0": (Signer("Lower", below).issue("client7.example"), ""),
        "of a twin intermediate under another CA": (twin(issuer=PUBLIC).issue("client7.example"), not_signed),
        "of a twin intermediate, with the authority's key id": (
            twin(issuer=PUBLIC, extensions=[(key_id, False)]).issue(
                "a.example", extensions=[(authority_key_id, False)]
            ),
            not_signed,
        ),
        "of a twin root": (twin().issue("client7.example"), not_signed),
        "self-signed, with the authority's name, CA:FALSE": (twin(ca=False), not_signed),
        "self-signed, with the authority's name, CA:TRUE": (twin(), "the certificate of a CA"),
        "expired": (SITE.issue("a.example", not_before=NOW - 9 * DAY, not_after=NOW - DAY), "it has expired"),
        "not yet valid": (SITE.issue("a.example", not_before=NOW + DAY), "it is not valid before"),
        "for servers only": (SITE.issue("a.example", purposes=[SERVER]), "extended key usage"),
        "for mail only": (SITE.issue("a.example", purposes=[EMAIL]), "extended key usage"),
        "signed by a client's certificate of the authority": (SITE.issue("evil.example").issue("a.example"), ""),
        "a CA below the authority, as a client": (below, "the certificate of a CA"),
        "of a waiting client's CA:TRUE, as a twin intermediate": (
            twin(issuer=CLIENT_CA).issue("a.example"),
            not_signed,
        ),
        "of a waiting client's CA:TRUE, directly": (CLIENT_CA.issue("a.example"), ""),
        "of a waiting client's CA:FALSE": (Signer("laptop.example", ca=False).issue("a.example"), ""),
        "of a waiting client's without basic constraints": (Signer("laptop.example", ca=None).issue("a.example"), ""),
        "of another CA that sends the authority's certificate along": (PUBLIC.issue("a.example"), ""),
        "with an RSA key of 1024 bits": (SITE.issue("a.example", key="rsa1024"), "its key is RSA 1024"),
        "with a key on a short curve": (
            SITE.issue("a.example", key=ec.generate_private_key(ec.SECP192R1())),
            "its key is EC with 192 bits",
        ),
        "with a critical extension that nobody knows": (
            SITE.issue(
                "a.example",
                extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
            ),
            "critical extension that is not understood: 1.2.3.4",
        ),
        "of another length than it says": (SITE.issue("a.example").der + b"\0", "it is"),
    }


ATTACKS = attacks()


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_other_certificate_is_enrolled(attack: str) -> None:
    leaf, why = ATTACKS[attack]
    found = reason(leaf)
    assert why in found
    assert bool(found) == bool(why)


def test_x509_version_1_is_refused_as_a_client_and_as_an_issuer() -> None:
    assert "X.509 version 3" in reason(openssl_leaf(SITE))


@pytest.mark.parametrize(
    ("key", "digest", "why"),
    [("rsa", "md5", "MD5 can be forged"), ("rsa", "sha1", "SHA-1 can be forged"), ("ec", "sha1", "SHA-1 can be")],
)
def test_a_signature_with_a_weak_digest_is_refused(key: str, digest: str, why: str) -> None:
    signer = Signer("Site CA", key=key)
    leaf = openssl_leaf(signer, f"-{digest}", extensions="basicConstraints=CA:FALSE")
    assert why in reason(leaf, Authority.of(signer.der))


def test_an_unknown_signature_algorithm_is_refused_and_named() -> None:
    signer = Signer("Site CA", key="rsa")
    der = signer.issue("client7.example").der
    assert "1.2.840.113549.1.1.99" in reason(der.replace(SHA256_RSA, UNKNOWN_RSA), Authority.of(signer.der))


def test_two_different_algorithms_in_one_certificate_are_refused() -> None:
    signer = Signer("Site CA", key="rsa")
    der = signer.issue("client7.example").der
    changed = der[: der.rindex(SHA256_RSA)] + UNKNOWN_RSA + der[der.rindex(SHA256_RSA) + len(SHA256_RSA) :]
    assert reason(changed, Authority.of(signer.der))


def test_a_serial_number_that_only_some_libraries_read_lets_nobody_in_by_an_exception() -> None:
    found = outcome(openssl_leaf(SITE, "-set_serial", "0", extensions="basicConstraints=CA:FALSE"))
    assert isinstance(found, Enrolled) or found.startswith("it is malformed")


def test_every_cut_of_a_certificate_is_refused() -> None:
    der = SITE.issue("client7.example").der
    assert all(isinstance(outcome(der[:end]), str) for end in range(len(der)))


def test_every_changed_byte_of_a_certificate_is_refused() -> None:
    der = SITE.issue("client7.example").der
    for at in range(len(der)):
        changed = der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]
        assert isinstance(outcome(changed), str), at


def test_of_two_approved_authorities_of_one_name_each_vouches_for_its_own() -> None:
    second = twin()
    both = X, Authority.of(second.der)
    mine, theirs = outcome(SITE.issue("a.example").der, *both), outcome(second.issue("b.example").der, *both)
    assert isinstance(mine, Enrolled)
    assert isinstance(theirs, Enrolled)
    assert (mine.authority, theirs.authority) == both


def test_an_authority_vouches_for_nobody_before_and_after_its_own_time() -> None:
    over = Signer("Site CA", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert "authority has expired" in reason(over.issue("a.example"), Authority.of(over.der))
    early = Signer("Site CA", not_before=NOW + DAY)
    assert "not valid before" in reason(early.issue("a.example"), Authority.of(early.der))


def test_a_certificate_counts_no_longer_than_its_authority() -> None:
    short = Signer("Site CA", not_after=NOW + 5 * DAY)
    found = outcome(short.issue("a.example", not_before=NOW - 9 * DAY).der, Authority.of(short.der))
    assert isinstance(found, Enrolled)
    assert (found.not_before, found.not_after) == (short.not_before, short.not_after)


def test_a_renewed_certificate_of_the_same_key_is_the_same_authority() -> None:
    renewed = Signer("Site CA", key=SITE.private, not_after=NOW + 900 * DAY)
    assert isinstance(outcome(SITE.issue("a.example").der, Authority.of(renewed.der)), Enrolled)


@pytest.mark.parametrize(
    ("pattern", "names", "subject", "enrolled"),
    [
        ("*.site.example", ["a.site.example"], "x", True),
        ("*.site.example", ["A.SITE.example"], "x", True),
        ("*.site.example", ["a.site.example", "b.other.example"], "x", False),
        ("*.site.example", ["site.example.evil.example"], "x", False),
        ("*.site.example", ["axsite.example"], "x", False),
        ("*.site.example", [], "a.site.example", True),
        ("*.site.example", [], "somebody else", False),
        ("Client *", [], "Client 7", True),
        ("a*b*c", [], "aXbXbc", True),
        ("a*b*c", [], "acb", False),
        ("ab*bc", [], "abc", False),
        ("*a" * 120, [], "a" * 60, False),
        ("*@site.example", ["bob@site.example"], "x", True),
        ("*.site.example", ["bob@a.site.example"], "x", False),
        ("*@site.example", ["bob@site.example", "a.site.example"], "x", False),
    ],
)
def test_names_are_compared_with_the_patterns(pattern: str, names: list[str], subject: str, enrolled: bool) -> None:
    general = [x509.RFC822Name(name) if "@" in name else x509.DNSName(name) for name in names]
    leaf = SITE.issue(subject, names=general)
    found = outcome(leaf.der, replace(X, patterns=(pattern,)))
    assert isinstance(found, Enrolled) is enrolled
    if isinstance(found, str):
        assert "is not approved for the name" in found


def test_a_certificate_without_a_name_matches_no_pattern() -> None:
    assert "no name" in reason(SITE.issue(""), replace(X, patterns=("*",)))


def with_crl(data: bytes, *leaves: Signer) -> list[str]:
    authority = replace(X, crl="/etc/site.crl")
    crls = {X.fingerprint: read_crl(data, authority)}
    found = [outcome(leaf.der, authority, crls=crls) for leaf in leaves]
    return [one if isinstance(one, str) else "" for one in found]


@pytest.mark.parametrize("pem", [True, False], ids=["PEM", "DER"])
def test_a_certificate_on_the_crl_is_refused_and_another_one_enrolled(pem: bool) -> None:
    good, gone = SITE.issue("good.example"), SITE.issue("gone.example")
    assert with_crl(SITE.crl([gone], pem=pem), good, gone) == ["", "it is on the CRL of its authority"]


OF_CAS = x509.IssuingDistributionPoint(
    full_name=None,
    relative_name=None,
    only_contains_user_certs=False,
    only_contains_ca_certs=True,
    only_some_reasons=None,
    indirect_crl=False,
    only_contains_attribute_certs=False,
)
UNUSABLE = {
    "expired": (SITE.crl(next_update=NOW - DAY), "its next update was due"),
    "of another authority": (PUBLIC.crl(), "it is the CRL of another authority"),
    "signed by a twin": (SITE.crl(key=twin().private), "the authority's key has not signed it"),
    "empty": (b"", "it holds no CRL"),
    "garbage": (b"\x30garbage", "it is malformed"),
    "a certificate": (SITE.pem, "it holds no CRL"),
    "several": (SITE.crl() + SITE.crl(), "it holds several CRLs"),
    "cut short": (SITE.crl(pem=False)[:-9], "it is malformed"),
    "a part of the whole": (SITE.crl(extensions=[(x509.DeltaCRLIndicator(1), True)]), "it does not cover all"),
    "of CAs only": (SITE.crl(extensions=[(OF_CAS, True)]), "it does not cover all"),
    "of CAs only, not critical": (SITE.crl(extensions=[(OF_CAS, False)]), "it does not cover all"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_crl_that_cannot_be_used_stops_enrolment(kind: str) -> None:
    data, why = UNUSABLE[kind]
    [found] = with_crl(data, SITE.issue("good.example"))
    assert found.startswith("the CRL /etc/site.crl cannot be used: ")
    assert why in found


def test_a_crl_that_was_not_read_stops_enrolment() -> None:
    assert "it was not read yet" in reason(SITE.issue("a.example"), replace(X, crl="/etc/site.crl"))


def test_a_salt_that_no_library_takes_is_a_signature_that_is_refused() -> None:
    sha256 = tlv(0x30, bytes.fromhex("0609608648016503040201"))
    mask = tlv(0x30, bytes.fromhex("06092a864886f70d010108") + sha256)
    salt = tlv(0xA2, bytes.fromhex("0204ffffffff"))
    pss = tlv(0x30, bytes.fromhex("06092a864886f70d01010a") + tlv(0x30, tlv(0xA0, sha256) + tlv(0xA1, mask) + salt))
    signed = tlv(0x30, tlv(0x30, pss) + pss + tlv(0x03, bytes(257)))
    with pytest.raises(SignatureError, match="its signature is malformed"):
        verify_signature(signed, new_key("rsa").public_key())


def test_a_subject_that_no_library_reads_is_refused_where_its_name_counts() -> None:
    der = SITE.issue("Zoe", names=[]).der
    parts = list(walk.elements(der, walk.element(der)))
    tbs = walk.raw(der, parts[0]).replace(b"Zoe", b"Zo\xe9")
    signature = SITE.private.sign(tbs, ec.ECDSA(hashes.SHA256()))
    leaf = tlv(0x30, tbs + walk.raw(der, parts[1]) + tlv(0x03, b"\0" + signature))
    assert "its subject is malformed" in reason(leaf, replace(X, patterns=("Zo*",)))


def tlv(tag: int, contents: bytes) -> bytes:
    """Return an element in DER."""
    size = len(contents).to_bytes(2, "big").lstrip(b"\0") or b"\0"
    return bytes([tag]) + (size if len(contents) < 128 else bytes([0x80 | len(size)]) + size) + contents
