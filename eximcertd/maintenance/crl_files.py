"""The CRLs of approved authorities, files that other programs renew: read again when they change."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from eximcertd.authorities.crl import Crl, read_crl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eximcertd.authorities.authority import Authority
    from eximcertd.fingerprint import Fingerprint

LARGEST: Final = 16 << 20
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class CrlFiles:
    """found: of each authority with a CRL, the CRL or why it cannot be used. ``refresh`` is for a worker thread."""

    def __init__(self) -> None:
        self.found: dict[Fingerprint, Crl | str] = {}
        self._read: dict[Fingerprint, tuple[str, tuple[int, ...]]] = {}

    def refresh(self, authorities: Iterable[Authority]) -> None:
        """Read the files that have changed since the last time; raises nothing."""
        found: dict[Fingerprint, Crl | str] = {}
        for authority in authorities:
            if authority.crl:
                found[authority.fingerprint] = self._one(authority)
        self.found = found

    def _one(self, authority: Authority) -> Crl | str:
        name = authority.fingerprint
        try:
            descriptor = os.open(authority.crl, _FLAGS)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                    return f"it is no regular file of at most {LARGEST >> 20} MiB"
                state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                if self._read.get(name) == (authority.crl, state) and name in self.found:
                    return self.found[name]
                with os.fdopen(os.dup(descriptor), "rb") as stream:
                    data = stream.read(LARGEST)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._read.pop(name, None)
            return error.strerror or str(error)
        self._read[name] = authority.crl, state
        return read_crl(data, authority)
