"""Key usages that OpenSSL or GnuTLS refuse in a client's certificate."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from lab.certificates import make
from lab.exim import EximServer, linked_with_openssl
from lab.smtp import ask

from eximcertd.certificates.parsing import parse

if TYPE_CHECKING:
    from pathlib import Path


def key_usage(*bits: str) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: name in bits for name in names})


SERVER_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
CLIENT_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])

# What a certificate says it is for; what of it is warned of; whether an Exim relays for it, by its TLS library.
CASES: dict[str, tuple[list[x509.ExtensionType], list[str], dict[str, bool]]] = {
    "nothing": ([], [], {"GnuTLS": True, "OpenSSL": True}),
    "clientAuth": ([CLIENT_AUTH], [], {"GnuTLS": True, "OpenSSL": True}),
    "digitalSignature": ([key_usage("digital_signature")], [], {"GnuTLS": True, "OpenSSL": True}),
    "serverAuth": ([SERVER_AUTH], ["clientAuth"], {"GnuTLS": True, "OpenSSL": False}),
    "keyAgreement": ([key_usage("key_agreement")], ["digitalSignature"], {"GnuTLS": False, "OpenSSL": True}),
    "keyEncipherment": ([key_usage("key_encipherment")], ["digitalSignature"], {"GnuTLS": False, "OpenSSL": False}),
    "both wrong": (
        [SERVER_AUTH, key_usage("key_encipherment")],
        ["clientAuth", "digitalSignature"],
        {"GnuTLS": False, "OpenSSL": False},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_certificate_that_is_not_made_for_a_client_is_warned_of_as_exim_treats_it(tmp_path: Path, case: str) -> None:
    usages, lacking, relays = CASES[case]
    one = make(tmp_path, "client.example", usages=usages)
    warnings = parse(one.der).warnings(datetime.now(UTC))
    assert [text for text in warnings if "not made for a TLS client" in text] == warnings
    assert [re.findall(r"no (\w+) among", text) for text in warnings] == [[usage] for usage in lacking]
    with EximServer(trusted=[one], allowed=[one.fingerprint]) as exim:
        assert ask(exim.port, one).accepted == relays["OpenSSL" if linked_with_openssl() else "GnuTLS"]
