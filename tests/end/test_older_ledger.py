"""A ledger that was put back from a backup: it readmits nobody, locks out nobody, and says what is to be settled."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab.authorities import Signer
from lab.authority import relay
from lab.certificates import make
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity


def back_up(daemon: Eximcertd) -> Path:
    """Copy the ledger while eximcertd is down."""
    copy = daemon.directory / "backup"
    shutil.copytree(daemon.state / "ledger", copy)
    return copy


def put_back(daemon: Eximcertd, copy: Path) -> None:
    """Put the ledger's file back, and nothing else of the directory."""
    for file in (daemon.state / "ledger").glob("ledger.sqlite*"):
        file.unlink()
    shutil.copy2(copy / "ledger.sqlite", daemon.state / "ledger" / "ledger.sqlite")


@pytest.mark.parametrize("form", ["list", "directory"])
def test_it_readmits_nobody_and_locks_out_nobody_and_a_person_settles_what_differs(
    alice: Identity, mallory: Identity, tmp_path: Path, form: str
) -> None:
    bob = make(tmp_path, "bob.example")
    with (
        EximServer(trusted=[alice, bob, mallory]) as exim,
        Eximcertd(exim, {"allowlist": {"form": form}}) as daemon,
    ):
        assert daemon.ctl("approve", alice.fingerprint, bob.fingerprint).returncode == 0
        daemon.stop()
        copy = back_up(daemon)
        daemon.start()
        assert daemon.ctl("revoke", alice.fingerprint).returncode == 0
        assert daemon.ctl("approve", mallory.fingerprint).returncode == 0
        daemon.stop()
        put_back(daemon, copy)
        daemon.start()
        until(lambda: daemon.status()["allowlist"]["live"], "what stands was looked at")
        assert ask(exim.port, alice).refused, "revoked since"
        assert ask(exim.port, mallory).accepted, "approved since"
        assert ask(exim.port, bob).accepted
        assert daemon.status()["allowlist"]["removed_by_hand"] == [alice.fingerprint]
        if form == "directory":
            assert "The ledger is older than what was published" in daemon.words()
        assert daemon.ctl("revoke", alice.fingerprint).returncode == 0
        assert daemon.status()["allowlist"]["removed_by_hand"] == []
        assert ask(exim.port, alice).refused


@pytest.mark.parametrize("form", ["list", "directory"])
def test_it_does_not_forget_a_revocation_made_offline_that_a_newer_one_has_taken(
    exim: EximServer, alice: Identity, form: str
) -> None:
    with Eximcertd(exim, {"allowlist": {"form": form}}) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        daemon.stop()
        copy = back_up(daemon)
        assert daemon.ctl("revoke", alice.fingerprint, "--offline").returncode == 0
        daemon.start()
        assert daemon.entries()[alice.fingerprint]["standing"] == "revoked"
        daemon.stop()
        put_back(daemon, copy)
        daemon.start()
        until(lambda: daemon.status()["allowlist"]["live"], "what stands was looked at")
        assert daemon.entries()[alice.fingerprint]["standing"] == "revoked"
        assert ask(exim.port, alice).refused


@pytest.mark.parametrize("form", ["list", "directory"])
def test_a_lost_ledger_locks_out_nobody_who_was_approved_again_after_a_revocation_made_offline(
    exim: EximServer, alice: Identity, form: str
) -> None:
    with Eximcertd(exim, {"allowlist": {"form": form}}) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        daemon.stop()
        assert daemon.ctl("revoke", alice.fingerprint, "--offline").returncode == 0
        daemon.start()
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        daemon.stop()
        shutil.rmtree(daemon.state / "ledger")
        daemon.start()
        until(lambda: daemon.status()["allowlist"]["live"], "what stands was looked at")
        assert daemon.entries()[alice.fingerprint]["standing"] == "approved"
        assert ask(exim.port, alice).accepted


@pytest.mark.parametrize("form", ["list", "directory"])
def test_a_directory_of_the_fingerprints_name_does_not_keep_root_from_revoking(
    exim: EximServer, alice: Identity, form: str
) -> None:
    with Eximcertd(exim, {"allowlist": {"form": form}}) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        daemon.stop()
        (daemon.allowed / alice.fingerprint).unlink()
        (daemon.allowed / alice.fingerprint).mkdir()
        done = daemon.ctl("revoke", alice.fingerprint, "--offline")
        assert done.returncode == 0, done.stderr
        assert ask(exim.port, alice).refused
        daemon.start()
        assert daemon.entries()[alice.fingerprint]["standing"] == "revoked"
        assert "Removed by hand" not in daemon.words(), "it was root's decision"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("form", ["list", "directory"])
def test_what_cannot_be_removed_is_reported_and_does_not_keep_the_list_from_being_published(
    exim: EximServer, alice: Identity, form: str
) -> None:
    with Eximcertd(exim, {"allowlist": {"form": form}}) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        daemon.stop()
        allowed = daemon.allowed
        subprocess.run(["/usr/bin/mount", "--bind", "-o", "ro", allowed, allowed], check=True)
        try:
            done = daemon.ctl("revoke", alice.fingerprint, "--offline")
        finally:
            subprocess.run(["/usr/bin/umount", allowed], check=True)
        honoured = form == "directory"
        assert done.returncode == (6 if honoured else 0), done.stderr
        assert "Could not be removed" in done.stdout + done.stderr
        assert "Read-only file system" in done.stdout + done.stderr
        assert ask(exim.port, alice).accepted == honoured
        daemon.start()
        assert ask(exim.port, alice).refused


def test_an_authority_that_the_libraries_read_no_more_is_listed_with_the_reason_and_can_be_withdrawn(
    tmp_path: Path,
) -> None:
    site = Signer("Site CA")
    file = tmp_path / "authority.pem"
    file.write_bytes(site.pem)
    leaf = site.issue("client7.example")
    with relay("pinned") as (exim, daemon):
        daemon.start()
        daemon.json("authority", "add", str(file))
        assert ask(exim.port, leaf.identity(tmp_path)).accepted
        daemon.stop()
        with sqlite3.connect(daemon.state / "ledger" / "ledger.sqlite") as db:  # in place of other libraries
            db.execute("UPDATE authority SET der = ?", (leaf.der,))
        daemon.start()
        [listed] = daemon.json("authority", "list")
        assert listed["fingerprint"] == site.fingerprint
        assert "no basic constraints CA:TRUE" in listed["problem"]
        assert any(site.fingerprint in problem for problem in daemon.status()["authorities"]["problems"])
        assert ask(exim.port, leaf.identity(tmp_path)).accepted, "what it has approved stays"
        gone = daemon.ctl("authority", "withdraw", site.fingerprint[:16])
        assert gone.returncode == 0, gone.stderr
        assert ask(exim.port, leaf.identity(tmp_path)).refused
