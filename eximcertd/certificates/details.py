"""Details of the certificates that are shown: each read again from its file, parsed, and kept for a while.

The index keeps only digests, so a certificate is read when it is shown. Parsed certificates (never the contents of
files) are kept for the next listing, at most KEPT of them.
"""

# Names in a directory are bytes, which pathlib does not take.
# ruff: noqa: PTH116, PTH118

from __future__ import annotations

import os
import threading
from collections import OrderedDict, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from eximcertd.certificates import certificate_warnings
from eximcertd.certificates.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.fingerprint import Fingerprint

KEPT: Final = 2048
MOST_FILES: Final = 100
_MOST_TRIES: Final = 8
_MOST_STATS: Final = 16


class Details:
    """read: name -> digest and DER form of each certificate in that file. directory: where the names lie."""

    def __init__(self, read: Callable[[bytes], Iterable[tuple[bytes, bytes]]], directory: bytes) -> None:
        self._read = read
        self._directory = directory
        self._kept: OrderedDict[bytes, Certificate] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, wanted: Mapping[bytes, tuple[bytes, ...]]) -> dict[Fingerprint, Certificate]:
        """Return the certificates. wanted: digest -> the names that hold it."""
        found = {}
        missing = {}
        for digest, names in wanted.items():
            kept = self._look_up(digest)
            if kept is None:
                missing[digest] = names
            else:
                found[digest] = kept
        for attempt in range(_MOST_TRIES):
            if not missing:
                break
            self._read_all(missing, attempt, found)
        return {
            certificate.fingerprint: self._with_files(certificate, wanted[digest])
            for digest, certificate in found.items()
        }

    def _look_up(self, digest: bytes) -> Certificate | None:
        with self._lock:
            kept = self._kept.get(digest)
            if kept is not None:
                self._kept.move_to_end(digest)
            return kept

    def _keep(self, digest: bytes, certificate: Certificate) -> None:
        with self._lock:
            self._kept[digest] = certificate
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def _read_all(self, missing: dict[bytes, tuple[bytes, ...]], attempt: int, found: dict[bytes, Certificate]) -> None:
        """Read, once each, the next file to try for every missing certificate."""
        files: dict[bytes, set[bytes]] = defaultdict(set)
        for digest, names in missing.items():
            if attempt < len(names):
                files[names[attempt]].add(digest)
        for name, digests in files.items():
            try:
                for digest, der in self._read(name):
                    if digest in digests:
                        digests.discard(digest)
                        del missing[digest]
                        found[digest] = parse(der)
                        self._keep(digest, found[digest])
                    if not digests:
                        break
            except OSError:
                continue  # gone or changed since the last look, which the next look will find

    def _with_files(self, certificate: Certificate, names: tuple[bytes, ...]) -> Certificate:
        files = sorted(names)[:MOST_FILES]
        paths = [os.path.join(self._directory, name) for name in files]
        texts = [os.fsdecode(name) for name in files]
        targets = [os.fsdecode(os.path.realpath(path)) for path in paths[:_MOST_STATS]]
        public = certificate_warnings.of_files(texts[:_MOST_STATS], targets)
        found_warnings = [*certificate.static_warnings, *public]
        for text, path in zip(texts[:_MOST_STATS], paths, strict=False):
            found_warnings.extend(self._mode_warnings(text, path))
        return replace(certificate, files=tuple(texts), static_warnings=tuple(found_warnings), public=bool(public))

    def _mode_warnings(self, name: str, path: bytes) -> list[str]:
        try:
            status, owner = os.stat(path), os.stat(self._directory).st_uid
        except OSError:
            return []
        return certificate_warnings.of_mode(name, status.st_mode, status.st_uid, status.st_gid, owner)
