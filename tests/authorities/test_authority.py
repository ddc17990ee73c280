"""Which certificates can be an authority, and what a file with one may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from lab.authorities import NOW, Signer
from lab.certificates import DAY

from eximcertd.authorities.authority import Authority
from eximcertd.authorities.pem import one_certificate
from eximcertd.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

SITE = Signer("Site CA", key="rsa")
USAGE: dict[str, Any] = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


def usage(*, signs: bool) -> list[tuple[x509.ExtensionType, bool]]:
    return [(x509.KeyUsage(**{**USAGE, "digital_signature": True, "key_cert_sign": signs}), True)]


def test_a_ca_with_and_without_a_key_usage_can_be_an_authority() -> None:
    for signer in (SITE, Signer("Site CA", extensions=usage(signs=True)), Signer("Site CA", SITE)):
        assert Authority.of(signer.der).name == "CN=Site CA,O=Site"


NO_AUTHORITY = {
    "a client's certificate": (Signer("a", ca=False), "no basic constraints CA:TRUE"),
    "one without basic constraints": (Signer("a", ca=None), "no basic constraints CA:TRUE"),
    "one whose key usage does not permit it": (Signer("a", extensions=usage(signs=False)), "key usage"),
    "one with a short key": (Signer("a", key="rsa1024"), "RSA 1024"),
    "one without a name": (Signer(""), "no name"),
    "one with name constraints": (
        Signer("a", extensions=[(x509.NameConstraints([x509.DNSName("site.example")], None), True)]),
        "name constraints",
    ),
}


@pytest.mark.parametrize("kind", NO_AUTHORITY)
def test_other_certificates_are_refused(kind: str) -> None:
    signer, why = NO_AUTHORITY[kind]
    with pytest.raises(RefusedError, match=why):
        Authority.of(signer.der)


@pytest.mark.parametrize("cut", [0, 1, 50, -1])
def test_bytes_that_are_no_certificate_are_refused(cut: int) -> None:
    with pytest.raises(RefusedError, match="cannot be an authority"):
        Authority.of(SITE.der[:cut])


def test_a_name_with_a_part_that_has_no_value_is_refused() -> None:
    with pytest.raises(RefusedError, match="an attribute of a name has a type and a value"):
        Authority.of(SITE.without_a_value())


def test_the_time_of_an_authority_is_told() -> None:
    over = Authority.of(Signer("Site CA", not_before=NOW - 9 * DAY, not_after=NOW - DAY).der)
    assert "expired" in over.problem(NOW)
    assert over.problem(NOW - 2 * DAY) == ""


def test_a_file_holds_one_certificate_in_pem_or_der(tmp_path: Path) -> None:
    assert one_certificate(SITE.der) == SITE.der
    assert one_certificate(b"Site CA, 2026\n" + SITE.pem) == SITE.der
    assert one_certificate(SITE.pem + SITE.identity(tmp_path).key.read_bytes()) == SITE.der


def key(directory: Path) -> bytes:
    return SITE.identity(directory).key.read_bytes()


def test_any_other_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    other = Signer("Site CA")
    files = {
        SITE.pem + other.pem: "holds 2 certificates",
        key(tmp_path): "no certificate, but a private key",
        SITE.crl(): "no certificate, but a x509 crl",
        b"": "no whole certificate",
        b"\x30garbage": "no whole certificate",
        SITE.der[:-9]: "no whole certificate",
        SITE.pem.replace(b"M", b"=", 3): "no whole certificate",
        SITE.pem[:200]: "no whole certificate",
    }
    for data, why in files.items():
        with pytest.raises(UsageError, match=why):
            one_certificate(data)
