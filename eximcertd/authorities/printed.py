"""The hash of an authority's name as Exim prints it, ``${sha256:${certextract{issuer}{$tls_in_peercert}}}``.

The recipe looks it up to choose between a refusal at once and a moment of waiting; it lets no client relay. GnuTLS
prints a name in the order of the certificate, OpenSSL the other way round (RFC 2253). The two escape and name unusual
parts differently: such a name has no hash here, and it is learned from the log. Pure.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from eximcertd.certificates import der as walk
from eximcertd.certificates.names import rfc4514

_SAME_WITH_BOTH: Final = re.compile(r"(?:CN|O|OU|C|L|ST|DC)=[A-Za-z0-9](?:[A-Za-z0-9 ._-]*[A-Za-z0-9._-])?")


def hashes_of(subject: bytes) -> tuple[str, ...]:
    """Return the upper-case hex hashes of a name (DER) as GnuTLS and OpenSSL print it; none if they are not certain."""
    parts = [rfc4514((relative,)) for relative in walk.name(subject, walk.element(subject))]
    if not all(_SAME_WITH_BOTH.fullmatch(part) for part in parts):
        return ()
    texts = dict.fromkeys([",".join(parts), ",".join(reversed(parts))])
    return tuple(sha256(text.encode()).hexdigest().upper() for text in texts)
