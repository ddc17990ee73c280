"""eximcertctl check on an Exim that is not started, with a twin of the daemon at the socket.

with looked_at() as (exim, daemon):
    status, found = check(daemon)
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lab.ctl import ctl
from lab.daemon import Eximcertd
from lab.exim import USER, EximServer
from lab.twins import ALICE, Twin, certificate

if TYPE_CHECKING:
    from collections.abc import Iterator


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root sees everything, and check is for root")


@contextmanager
def looked_at(
    settings: dict[str, dict[str, Any]] | None = None, *, approved: tuple[str, ...] = (ALICE,), **options: Any
) -> Iterator[tuple[EximServer, Eximcertd]]:
    """Set up an Exim that is not started and a configuration of eximcertd, with a twin at its socket."""
    exim = EximServer(**{"allowed": [ALICE], **options})
    try:
        daemon = Eximcertd(exim, settings)
        daemon.allowed.mkdir()
        exim.log.touch()
        shutil.chown(exim.log, USER, USER)
        with Twin(daemon.socket) as twin:
            for fingerprint in approved:
                twin.see(fingerprint, certificate("CN=client"), standing="approved")
            yield exim, daemon
    finally:
        exim.remove()


def check(daemon: Eximcertd) -> tuple[int, dict[str, list[str]]]:
    """Return the exit status, and verdict -> sentences with their remedies."""
    done = ctl("--config", daemon.config, "check", "--json")
    found: dict[str, list[str]] = {"ok": [], "warning": [], "error": [], "unknown": []}
    for line in json.loads(done.out):
        found[line["verdict"]].append(f"{line['sentence']} -> {line['remedy']}")
    return done.status, found
