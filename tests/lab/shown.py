"""The log line that brings the certificate of an attempt, as the ACL of the packaged examples writes it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from eximcertd.log.line import DEFAULT_MESSAGE
from lab.certificates import make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.certificates import Identity

ISSUER: Final = "0123456789ABCDEF" * 4
"""What stands for SHA-256 of the issuer's name."""

LOGWRITES: Final = r"""
          logwrite      = Certificate of the attempt: ${sha256:$tls_in_peercert} \
${sha256:${certextract{issuer}{$tls_in_peercert}}} \
${if <{${strlen:${base64:$tls_in_peercert}}}{7500}{${base64:$tls_in_peercert}}{-}}
          logwrite      = Attempt"""


def with_certificate(acl: str) -> str:
    """Return a recipe of lab.recipe with the line of the certificate before that of the attempt."""
    return acl.replace("\n          logwrite      = Attempt", LOGWRITES)


def certificate_line(of: Identity, stamp: str = "2026-11-22 17:03:03", *, text: str | None = None) -> str:
    """Return the line of a certificate, with its newline. text: other than its base64."""
    shown = base64.b64encode(of.der).decode() if text is None else text
    return f"{stamp} Certificate of the attempt: {of.fingerprint} {ISSUER} {shown}\n"


def attempt_lines(of: Identity, stamp: str = "2026-11-22 17:03:03") -> str:
    """Return both lines of an attempt."""
    return f"{certificate_line(of, stamp)}{stamp} {DEFAULT_MESSAGE} {of.fingerprint}\n"


def syslog_parts(text: str, size: int = 870) -> list[str]:
    """Return an entry as Exim gives it to syslog: a long one in parts."""
    count = -(-len(text) // size)
    if count <= 1:
        return [text]
    return [f"[{number + 1}/{count}] {text[number * size :][:size]}" for number in range(count)]


def series(directory: Path, **settings: Any) -> Callable[[int], bytes]:
    """Return what gives the DER forms of any number of certificates, at no cost. settings: for lab.certificates.make.

    They differ in their serial number; only one is really signed.
    """
    marker = 0x4142434445464748
    der = make(directory, "client.example", serial=marker, **settings).der
    head, found, tail = der.partition(marker.to_bytes(8, "big"))
    assert found
    return lambda number: head + (marker + 1 + number).to_bytes(8, "big") + tail
