"""What approve says if Exim verifies certificates and an approved one lies in no file of the certificate directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.check.printed_config import read
from eximcertd.exim.settings import Exim, EximError
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eximcertd.config import DaemonConfig

_MOST: Final = 5


def where_to_put(config: DaemonConfig, entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines about approved entries whose certificates only their clients have shown.

    Others than self-signed ones were verified by their CA's certificate when their attempt was logged.
    """
    missing = [entry["fingerprint"] for entry in entries if _is_missing(entry["certificate"])]
    verifies = _verifies(config) if missing else False
    if not missing or verifies is False:
        return
    directory = clean(str(config.certificates.directory))
    if verifies:
        yield f"Exim verifies certificates, and this one is not in {directory}: Exim refuses it until it is. As root:"
    else:
        yield f"If Exim verifies certificates (verify = certificate), it refuses this one until it is in {directory}:"
    for fingerprint in missing[:_MOST]:
        name = clean(fingerprint[:16])
        yield f"  eximcertctl certificate {name} >{directory}/{name}.pem"
    yield f"  openssl rehash {directory}    (if Exim is linked with OpenSSL)"


def _is_missing(certificate: dict[str, Any] | None) -> bool:
    of = certificate or {}
    return of.get("source") == "attempt" and of["issuer"] == of["subject"]


def _verifies(config: DaemonConfig) -> bool | None:
    """Tell whether the statement that accepts by certificate verifies it; None if this user cannot see that."""
    try:
        exim = Exim(config.exim.binary, config.exim.config)
        start = exim.settings("acl_smtp_rcpt").get("acl_smtp_rcpt", "")
        statements = [statement for _, statement, _ in read(exim.printed()).reached(start)]
    except EximError:
        return None
    accepting = [
        statement
        for statement in statements
        if statement.verb == "accept" and any("$tls_in_peercert" in text for text in statement.values("condition"))
    ]
    return any(statement.verifies for statement in accepting) if accepting else None
