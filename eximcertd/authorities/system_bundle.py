"""Whether a certificate is a public CA's, or below one, as far as this machine's bundle of public CAs shows.

An administrator's own CAs, which the bundle holds too, are not public. This module alone of the package reads files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.authorities.signature import SignatureError, load_key, verify_signature
from eximcertd.certificates import der as walk
from eximcertd.certificates.names import rfc4514
from eximcertd.certificates.reading import certificates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BUNDLES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
    Path("/etc/ssl/cert.pem"),
)
LOCAL: Final = (Path("/usr/local/share/ca-certificates"), Path("/etc/pki/ca-trust/source/anchors"))


def public_ca(der: bytes, bundles: Iterable[Path] = BUNDLES, local: Iterable[Path] = LOCAL) -> str:
    """Return the name of the public CA that a certificate belongs to or is signed by, or "". Raises DerError."""
    own = {one for directory in local for file in directory.rglob("*.crt") for one in _read(file)}
    where = walk.fields(der)
    subject, issuer = walk.raw(der, where.subject), walk.raw(der, where.issuer)
    for one in {one for bundle in bundles for one in _read(bundle)} - own:
        try:
            found = walk.fields(one)
            name, key = walk.raw(one, found.subject), walk.raw(one, found.key)
            same = (name, key) == (subject, walk.raw(der, where.key))
            if same or (name == issuer and _signed(der, key)):
                return rfc4514(walk.name(one, found.subject))
        except walk.DerError:
            continue
    return ""


def _signed(der: bytes, key: bytes) -> bool:
    try:
        verify_signature(der, load_key(key))
    except SignatureError:
        return False
    return True


def _read(file: Path) -> Iterator[bytes]:
    try:
        for _, der in certificates(bytes(file)):
            yield der
    except OSError:
        return  # a machine has one of these files, or none
