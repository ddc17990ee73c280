"""The certificate and the key with which Exim shows who it is: setup makes them, or keeps those that work."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from lab.certificates import make
from lab.debian import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity
    from lab.debian import DebianServer


def install(machine: DebianServer, identity: Identity) -> None:
    """Make a certificate and its key Exim's."""
    machine.write("/etc/exim4/exim.crt", identity.pem)
    machine.write("/etc/exim4/exim.key", identity.key.read_text())
    machine.sh("chgrp Debian-exim /etc/exim4/exim.key; chmod 640 /etc/exim4/exim.key")


def test_the_new_certificate_is_for_the_servers_name_and_its_key_is_for_exims_group_alone(
    machine: DebianServer,
) -> None:
    said = machine.set_up()
    certificate = x509.load_pem_x509_certificate(machine.sh("cat /etc/exim4/exim.crt").encode())
    assert said["server_fingerprint"] == hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest().upper()
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOST]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert machine.sh("stat -c '%a %U %G' /etc/exim4/exim.key") == "640 root Debian-exim\n"
    assert said["client_command"] == (
        f"eximcertctl client setup {HOST} --server-fingerprint {said['server_fingerprint']}"
    )


def test_a_certificate_that_works_is_kept(machine: DebianServer, tmp_path: Path) -> None:
    own = make(tmp_path, HOST, key="rsa")
    install(machine, own)
    said = machine.set_up()
    assert said["server_fingerprint"] == own.fingerprint
    machine.ctl("setup", "--undo", "--yes")
    assert machine.sh("cat /etc/exim4/exim.crt") == own.pem


def test_a_key_that_exim_cannot_read_is_named_and_not_overwritten(machine: DebianServer, tmp_path: Path) -> None:
    install(machine, make(tmp_path, HOST))
    machine.sh("chgrp root /etc/exim4/exim.key")
    before = machine.files()
    done = machine.ctl("setup", "--yes", good=False)
    assert done.returncode == 1
    assert "Debian-exim cannot read /etc/exim4/exim.key" in done.stderr
    assert "chgrp Debian-exim /etc/exim4/exim.key" in done.stderr
    assert machine.files() == before
