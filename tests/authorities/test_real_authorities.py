"""Authorities that others wrote: easy-rsa, `openssl ca` and GnuTLS's certtool, as their manuals use them."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest

from eximcertd.authorities.authority import Authority
from eximcertd.authorities.crl import Crl, read_crl
from eximcertd.authorities.leaf import Enrolled, verify
from eximcertd.authorities.pem import one_certificate

if TYPE_CHECKING:
    from pathlib import Path


class Issued(NamedTuple):
    """The authority's certificate, a client's, a server's, a revoked client's, and the CRL: PEM files."""

    authority: Path
    client: Path
    server: Path
    revoked: Path
    crl: Path


def run(directory: Path, *command: str, **more: str) -> None:
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **more}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def easy_rsa(directory: Path) -> Issued:
    def easyrsa(*command: str) -> None:
        run(directory, "/usr/share/easy-rsa/easyrsa", "--batch", *command, EASYRSA_ALGO="ec")

    easyrsa("init-pki")
    easyrsa("--req-cn=Site CA", "build-ca", "nopass")
    easyrsa("build-client-full", "client7", "nopass")
    easyrsa("build-client-full", "gone", "nopass")
    easyrsa("build-server-full", "server", "nopass")
    easyrsa("revoke", "gone")
    easyrsa("gen-crl")
    pki = directory / "pki"
    issued = pki / "issued"
    [revoked] = (pki / "revoked/certs_by_serial").glob("*.crt")
    return Issued(pki / "ca.crt", issued / "client7.crt", issued / "server.crt", revoked, pki / "crl.pem")


OPENSSL = """\
[ca]
default_ca = site
[site]
database = index.txt
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
serial = serial
default_md = sha256
default_days = 30
default_crl_days = 7
policy = any
unique_subject = no
[any]
commonName = supplied
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
[server]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
"""


def openssl_ca(directory: Path) -> Issued:
    def openssl(*command: str) -> None:
        run(directory, "openssl", *command)

    (directory / "ca.cnf").write_text(OPENSSL)
    (directory / "index.txt").touch()
    (directory / "serial").write_text("01\n")
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Site CA"
    )
    for name, kind in (("client7", "client"), ("gone", "client"), ("server", "server")):
        request = ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr"]
        openssl("req", *request, "-subj", f"/CN={name}")
        ca = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-extensions", kind]
        openssl(*ca, "-in", f"{name}.csr", "-out", f"{name}.pem")
    openssl("ca", "-config", "ca.cnf", "-revoke", "gone.pem")
    openssl("ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem")
    return Issued(*(directory / f"{name}.pem" for name in ("ca", "client7", "server", "gone", "crl")))


def certtool(directory: Path) -> Issued:
    def tool(*command: str) -> None:
        run(directory, "certtool", *command)

    templates = {
        "ca": "cn = Site CA\nca\ncert_signing_key\ncrl_signing_key\n",
        "client7": "cn = client7\ntls_www_client\nsigning_key\n",
        "gone": "cn = gone\ntls_www_client\nsigning_key\n",
        "server": "cn = server\ntls_www_server\nsigning_key\n",
        "crl": "crl_next_update = 7\ncrl_number = 1\n",
    }
    for name, text in templates.items():
        (directory / f"{name}.tmpl").write_text(f"{text}expiration_days = 30\n")
        if name != "crl":
            tool("--generate-privkey", "--key-type=ecdsa", "--outfile", f"{name}.key")
    tool("--generate-self-signed", "--load-privkey", "ca.key", "--template", "ca.tmpl", "--outfile", "ca.pem")
    by_ca = ["--load-ca-certificate", "ca.pem", "--load-ca-privkey", "ca.key"]
    for name in ("client7", "gone", "server"):
        own = ["--load-privkey", f"{name}.key", "--template", f"{name}.tmpl", "--outfile", f"{name}.pem"]
        tool("--generate-certificate", *own, *by_ca)
    tool("--generate-crl", *by_ca, "--load-certificate", "gone.pem", "--template", "crl.tmpl", "--outfile", "crl.pem")
    return Issued(*(directory / f"{name}.pem" for name in ("ca", "client7", "server", "gone", "crl")))


@pytest.mark.parametrize("make", [easy_rsa, openssl_ca, certtool])
def test_its_clients_are_enrolled_and_its_servers_and_revoked_clients_are_not(make: object, tmp_path: Path) -> None:
    assert callable(make)
    issued = make(tmp_path)
    authority = Authority.of(one_certificate(issued.authority.read_bytes()), crl=str(issued.crl))
    crl = read_crl(issued.crl.read_bytes(), authority)
    assert isinstance(crl, Crl), crl
    now = datetime.now(UTC) + timedelta(minutes=1)

    def outcome(file: Path) -> Enrolled | str:
        return verify(one_certificate(file.read_bytes()), [authority], now, {authority.fingerprint: crl})

    assert isinstance(outcome(issued.client), Enrolled)
    assert "extended key usage" in str(outcome(issued.server))
    assert "on the CRL" in str(outcome(issued.revoked))
