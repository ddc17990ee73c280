"""The warnings about a certificate before its approval, as clauses that follow "it".

Certificate.warnings adds those that depend on the time (expired, not yet valid). Pure.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORTEST_RSA_KEY: Final = 2048
PUBLIC_DIRECTORY: Final = "/usr/share/ca-certificates/"
BUNDLES: Final = frozenset({"ca-certificates.crt", "ca-bundle.crt", "ca-bundle.pem", "tls-ca-bundle.pem", "cert.pem"})
WEAK_HASHES: Final = {"md2": "MD2", "md4": "MD4", "md5": "MD5", "sha1": "SHA-1"}
LACKS: Final = {
    "clientAuth": "an Exim linked with OpenSSL does not verify it, one linked with GnuTLS does",
    "digitalSignature": "an Exim linked with GnuTLS refuses its TLS handshake, with OpenSSL it may not verify it",
}
"""Key usages that a TLS client needs, and what Exim makes of a certificate that leaves them out (seen on 4.96)."""

_ROOT: Final = 0

# RFC 3279, section 2.2, and the older one of OIW (1.3.14).
WEAK_SIGNATURES: Final = {
    "1.2.840.113549.1.1.2": "md2",
    "1.2.840.113549.1.1.3": "md4",
    "1.2.840.113549.1.1.4": "md5",
    "1.2.840.113549.1.1.5": "sha1",
    "1.2.840.10040.4.3": "sha1",
    "1.2.840.10045.4.1": "sha1",
    "1.3.14.3.2.29": "sha1",
    "1.3.14.3.2.15": "sha1",
}


def of_contents(
    *, ca: bool, key: str, signature: str, hash_name: str, named: bool, lacks: Sequence[str], problem: str
) -> list[str]:
    """Return the warnings about a certificate's contents.

    key: as in Certificate. signature: the signature algorithm's object identifier. hash_name: the signature's
    hash where a parser names it ("sha1"), else "". named: it has a subject or a subject alternative name. lacks:
    of the keys of LACKS, those that its key usages leave out.
    """
    found = []
    if ca:
        found.append("is a CA certificate: its key can make any number of others that Exim verifies")
    kind, _, bits = key.partition(" ")
    if kind == "RSA" and bits.isdecimal() and int(bits) < SHORTEST_RSA_KEY:
        found.append(f"has a short key: RSA {bits}, and less than {SHORTEST_RSA_KEY} bits can be broken")
    weak = WEAK_HASHES.get(hash_name) or WEAK_HASHES.get(WEAK_SIGNATURES.get(signature, ""))
    if weak:
        found.append(f"has a weak signature: {weak} can be forged")
    if not named:
        found.append("has no name at all, neither a subject nor an alternative name")
    found += [f"is not made for a TLS client (no {usage} among its key usages): {LACKS[usage]}" for usage in lacks]
    if problem:
        found.append(f"cannot be read in full: {problem}")
    return found


def of_files(files: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Return the warnings about the places of its files. targets: what each of ``files`` leads to, links resolved."""
    single = [target for name, target in zip(files, targets, strict=True) if name not in BUNDLES]
    if files and (not single or any(target.startswith(PUBLIC_DIRECTORY) for target in single)):
        return ["belongs to a public CA: it is part of the bundle of the system, not the certificate of a client"]
    return []


def of_mode(name: str, mode: int, uid: int, gid: int, directory_uid: int) -> list[str]:
    """Return the warnings about a file that users other than root and the owner of the directory can write.

    mode, uid, gid: of the file that ``name`` leads to.
    """
    if mode & stat.S_IWOTH:
        return [f"lies in a file that everybody can write: {name}"]
    if mode & stat.S_IWGRP and gid != _ROOT:
        return [f"lies in a file that a group can write: {name}"]
    if mode & stat.S_IWUSR and uid not in {_ROOT, directory_uid}:
        return [f"lies in a file that belongs to another user than the directory: {name}"]
    return []
