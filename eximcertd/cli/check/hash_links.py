"""Whether OpenSSL finds the certificates of a directory, which it looks up by a hash of their subjects.

OpenSSL opens no file of the directory but those named by that hash, such as 3c8e6b1e.0 (X509_LOOKUP_hash_dir(3));
"openssl rehash" makes these links. openssl itself is asked: a link of an earlier certificate has the wrong name.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import CheckLine, ok, unknown, warning
from eximcertd.exim.run import EximError, run
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VERIFY: Final = ("/usr/bin/openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath")
_MOST: Final = 2000
"""Files; their names fit into one command."""
_LIMIT: Final = 20.0
_LINK: Final = re.compile(r"[0-9a-f]{8}\.r?[0-9]+")
_NOT_FOUND: Final = re.compile(r"^error 18 at 0 depth lookup: .*\nerror (.+): verification failed$", re.MULTILINE)
"""X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: the certificate is self-signed and was not found in the directory."""


def hash_links(directory: Path) -> Iterator[CheckLine]:
    """Say which self-signed certificates in the directory OpenSSL does not find there."""
    names = sorted(entry.name for entry in os.scandir(directory) if entry.is_file() and not _LINK.fullmatch(entry.name))
    paths = [str(directory / name) for name in names[:_MOST]]
    try:
        told = run([*_VERIFY, str(directory), *paths], _LIMIT) if paths else None
    except EximError as failure:
        yield unknown(f"whether OpenSSL finds the certificates in {directory} ({failure.message})")
        return
    missing = [os.path.basename(path) for path in _NOT_FOUND.findall(told.err)] if told else []  # noqa: PTH119 - a name
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        yield warning(
            f"OpenSSL does not find {shown(missing[0])}{more} in {directory}: Exim is linked with it, and does not "
            "verify a client with such a certificate",
            f"openssl rehash {directory} (which makes hash links for files with one certificate, named .pem, .crt or "
            ".cer); of two self-signed certificates with one name and no key identifier OpenSSL finds one",
        )
    else:
        some = f"the first {_MOST} of {len(names)} files in " if len(names) > _MOST else ""
        yield ok(f"OpenSSL finds the certificates in {some}{directory}")
