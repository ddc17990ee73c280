"""What approve says if Exim verifies certificates and an approved one lies in no file of the certificate directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.check.configured import configured_statements
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
    if verifies is False:
        return
    directory = clean(str(config.certificates.directory))
    these, them, they = ("this one is", "it", "it is") if len(missing) == 1 else ("these are", "them", "they are")
    if verifies:
        yield f"Exim verifies certificates, and {these} not in {directory}: Exim refuses {them} until {they}. As root:"
    else:
        yield f"If Exim verifies certificates (verify = certificate), it refuses {them} until {they} in {directory}:"
    for fingerprint in missing[:_MOST]:
        name = clean(fingerprint[:16])
        yield f"  eximcertctl certificate {name} >{directory}/{name}.pem"
    if len(missing) > _MOST:
        yield f"  and the same for {len(missing) - _MOST} more"
    yield f"  openssl rehash {directory}    (if Exim is linked with OpenSSL)"


def _is_missing(certificate: dict[str, Any] | None) -> bool:
    of = certificate or {}
    return of.get("source") == "attempt" and of["issuer"] == of["subject"]


def _verifies(config: DaemonConfig) -> bool | None:
    """Tell whether each statement that accepts clients on the list verifies; None if this user cannot see that."""
    try:
        accepting = configured_statements(Exim(config.exim.binary, config.exim.config), config)
    except EximError:
        return None
    return all(statement.verifies for statement in accepting) if accepting else None
