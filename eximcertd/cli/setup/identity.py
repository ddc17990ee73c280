"""The certificate and key that Exim shows its clients: whether there are any that work, and a new pair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from eximcertd.cli.changeset import Change
from eximcertd.cli.client import certificate as new
from eximcertd.errors import EximcertdError
from eximcertd.exim import debian
from eximcertd.exim.settings import EximError
from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.text import shown

if TYPE_CHECKING:
    from eximcertd.cli.changeset import Changeset
    from eximcertd.cli.setup.site import Site

_CERTIFICATE: Final = debian.ETC / "exim.crt"
_KEY: Final = debian.ETC / "exim.key"
_LARGEST: Final = 1 << 20


class CertificateFiles(NamedTuple):
    """The files that Exim is told to use."""

    certificate: Path
    key: Path


def of_debian(changeset: Changeset, kind: debian.Kind) -> CertificateFiles:
    """Return the files that Debian's configuration names (03_exim4-config_tlsoptions)."""
    found: dict[str, str] = {}
    for path in debian.sources(kind):
        found |= debian.definitions(changeset.without_us(path) or "")
    both = found.get("MAIN_TLS_CERTKEY")
    return CertificateFiles(
        Path(both or found.get("MAIN_TLS_CERTIFICATE") or _CERTIFICATE),
        Path(both or found.get("MAIN_TLS_PRIVATEKEY") or _KEY),
    )


def changes(files: CertificateFiles, site: Site, changeset: Changeset) -> list[Change]:
    """Return the changes that make a pair, none if there is one that works. Raises EximcertdError.

    A pair that does not work is never overwritten.
    """
    ours = changeset.standing(*files)
    there = [path.exists() for path in files]
    if all(there):
        works(files, site)
        return ours
    if any(there) or files != CertificateFiles(_CERTIFICATE, _KEY):
        missing = next(path for path in files if not path.exists())
        raise EximcertdError(f"Exim is told to use {missing}, which does not exist", hint="restore or make it")
    certificate, key = new.make(site.host, ExtendedKeyUsageOID.SERVER_AUTH)
    return [
        Change(files.key, key, None, 0o640, site.group, secret=True),
        Change(files.certificate, certificate),
    ]


def works(files: CertificateFiles, site: Site) -> None:
    """Verify that certificate and key belong together and Exim's user can read them. Raises EximcertdError."""
    try:
        certificate = x509.load_pem_x509_certificate(_read(files.certificate))
        key = serialization.load_pem_private_key(_read(files.key), None)
    except (ValueError, TypeError) as error:
        raise EximcertdError(
            f"Exim's certificate {files.certificate} and key {files.key} cannot be used: {shown(str(error), 200)}",
            hint=_HINT,
        ) from None
    if _spki(certificate.public_key()) != _spki(key.public_key()):
        raise EximcertdError(f"{files.key} is not the key of the certificate {files.certificate}", hint=_HINT)
    for path in files:
        try:
            site.exim.expand(f"${{sha256:${{readfile{{{path}}}}}}}", user=site.user)
        except EximError as error:
            raise EximcertdError(
                f"Exim's user {site.user} cannot read {path}: {error.words or error.message}",
                hint=f"chgrp {site.group} {path} && chmod 640 {path}",
            ) from None


def _spki(key: Any) -> bytes:
    """Return a public key's bytes (RFC 5280, SubjectPublicKeyInfo); cryptography 38 compares no keys."""
    raw: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return raw


_HINT: Final = "correct it, or move both files away and run this again: then a new pair is made"


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of the certificate that Exim shows. Raises EximcertdError."""
    try:
        certificate = x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise EximcertdError(f"{path} holds no certificate: {shown(str(error), 200)}") from None
    return of_der(certificate.public_bytes(serialization.Encoding.DER))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST)
    except OSError as error:
        raise EximcertdError(f"{path} cannot be read: {error.strerror}") from None
