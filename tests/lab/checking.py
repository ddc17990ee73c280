"""eximcertctl check on an Exim of the lab; looked_at: one that is not started, with a twin of the daemon at the socket.

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
from lab.entries import ALICE, certificate
from lab.exim import USER, EximServer
from lab.twins import Twin

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
        daemon = beside(exim, **(settings or {}))
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
    status, lines = checked(daemon)
    found: dict[str, list[str]] = {"ok": [], "warning": [], "error": [], "unknown": []}
    for line in lines:
        found[line["verdict"]].append(f"{line['sentence']} -> {line['remedy']}")
    return status, found


def checked(daemon: Eximcertd, *options: str) -> tuple[int, list[dict[str, str]]]:
    """Return the exit status and the lines."""
    done = ctl("--config", daemon.config, "check", "--json", *options)
    return done.status, json.loads(done.out)


def sentences(daemon: Eximcertd, verdict: str) -> str:
    """Return the sentences and remedies with a verdict."""
    return "\n".join(check(daemon)[1][verdict])


def beside(exim: EximServer, /, **settings: dict[str, Any]) -> Eximcertd:
    """Return a configuration of eximcertd for an Exim, with a directory for what is allowed."""
    daemon = Eximcertd(exim, settings)
    daemon.allowed.mkdir()
    return daemon
