"""A client that nobody copied a file for: its certificate comes with its attempt, in the log of a real Exim."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.recipe import ACL, PINNED_ACL
from lab.shown import attempt_lines, with_certificate
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

PINNED = with_certificate(PINNED_ACL)
SHOWN = "shown by the client; ask its owner for the fingerprint"


@pytest.mark.parametrize("form", ["list", "directory"])
def test_a_client_whose_file_lies_nowhere_is_known_by_its_attempt_and_relays_when_it_is_approved(
    alice: Identity, form: str
) -> None:
    with EximServer(acl=PINNED) as exim, Eximcertd(exim, {"allowlist": {"form": form}}) as daemon:
        assert ask(exim.port, alice).refused
        until(lambda: daemon.entries("pending"), "it is pending")
        entry = daemon.entries("pending")[alice.fingerprint]
        certificate = entry["certificate"]
        assert (certificate["source"], certificate["files"]) == ("attempt", [])
        assert (certificate["subject"], certificate["names"]) == (f"CN={alice.name}", [alice.name])
        assert (entry["attempts"], entry["from"]["helo"]) == (1, "client.lab.example")
        assert daemon.status()["counts"]["pending"] == 1
        assert SHOWN in daemon.ctl("pending", "--long").stdout
        assert SHOWN in daemon.ctl("show", alice.fingerprint).stdout
        short = daemon.ctl("approve", alice.fingerprint[:15])
        assert short.returncode == 3
        assert "give at least 16 digits" in short.stderr
        done = daemon.ctl("approve", alice.fingerprint[:16])
        assert (done.returncode, done.stderr) == (0, "")
        assert "openssl rehash" not in done.stdout, "under this recipe no file is needed"
        assert ask(exim.port, alice).accepted
        daemon.restart()
        entry = daemon.entries()[alice.fingerprint]
        assert entry["certificate"]["subject"] == f"CN={alice.name}"
        assert entry["warnings"] == []


def test_the_certificate_is_printed_as_a_pem_file_and_nothing_else(
    alice: Identity, mallory: Identity, tmp_path: Path
) -> None:
    bob = make(tmp_path, "bob.example")
    with EximServer(acl=PINNED, trusted=[mallory]) as exim, Eximcertd(exim) as daemon:
        assert ask(exim.port, alice).refused
        until(lambda: daemon.entries("pending"), "it is pending")
        for who in (alice, mallory):
            printed = daemon.ctl("certificate", who.fingerprint[:16].lower())
            assert (printed.returncode, printed.stderr) == (0, "")
            assert printed.stdout == who.pem
            assert daemon.json("certificate", who.fingerprint) == {"fingerprint": who.fingerprint, "pem": who.pem}
        for asked in (bob.fingerprint, bob.fingerprint[:16]):
            missing = daemon.ctl("certificate", asked)
            assert (missing.returncode, missing.stdout) == (3, "")


def test_it_stands_after_those_of_the_directory_and_beside_those_that_claim_its_name(
    alice: Identity, mallory: Identity, tmp_path: Path
) -> None:
    twin = make(tmp_path, alice.name, stem="twin")
    with EximServer(acl=PINNED, trusted=[mallory]) as exim, Eximcertd(exim) as daemon:
        for number, who in enumerate((alice, twin, mallory), 1):
            assert ask(exim.port, who).refused
            until(lambda number=number: len(daemon.entries("pending")) == number, "it is pending")  # type: ignore[misc]
        entries = daemon.json("pending")
        assert [one["certificate"]["source"] for one in entries] == ["directory", "attempt", "attempt"]
        same = {one["fingerprint"]: one["same_name"] for one in entries}
        assert same == {
            mallory.fingerprint: [],
            alice.fingerprint: [twin.fingerprint],
            twin.fingerprint: [alice.fingerprint],
        }
        told = daemon.ctl("show", alice.fingerprint).stdout
        assert f"claims the same name as {twin.fingerprint[:16]}" in told
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        [entry] = [one for one in daemon.json("pending") if one["fingerprint"] == twin.fingerprint]
        assert entry["same_name"] == [alice.fingerprint]
        assert (entry["renews"]["fingerprint"], entry["renews"]["same_key"]) == (alice.fingerprint, False)


def test_a_renewed_certificate_and_an_expired_one_are_recognised_as_if_they_lay_in_the_directory(
    alice: Identity, tmp_path: Path
) -> None:
    renewed = make(tmp_path, alice.name, key=alice.private)
    expired = make(tmp_path, "old.example", not_after=datetime.now(UTC) - timedelta(days=1))
    with EximServer(acl=PINNED) as exim, Eximcertd(exim) as daemon:
        assert ask(exim.port, alice).refused
        until(lambda: daemon.entries("pending"), "it is pending")
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        for who in (renewed, expired):
            assert ask(exim.port, who).refused
        until(lambda: len(daemon.entries("pending")) == 2, "both are pending")
        entries = daemon.entries("pending")
        assert entries[renewed.fingerprint]["renews"]["same_key"] is True
        assert "expired on" in entries[expired.fingerprint]["warnings"][0]
        refused = daemon.ctl("approve", expired.fingerprint)
        assert refused.returncode == 7
        assert "--expired" in refused.stderr
        assert daemon.ctl("approve", renewed.fingerprint, "--replace").returncode == 0


def test_where_exim_verifies_certificates_approve_says_where_to_put_the_missing_file(alice: Identity) -> None:
    with EximServer(acl=with_certificate(ACL), trusted=[alice]) as exim, Eximcertd(exim) as daemon:
        assert ask(exim.port, alice).refused
        until(lambda: daemon.entries("pending"), "it is pending")
        assert daemon.entries("pending")[alice.fingerprint]["certificate"]["source"] == "directory"
        for file in exim.certificates.glob("*.pem"):
            file.unlink()
        until(
            lambda: daemon.entries("pending")[alice.fingerprint]["certificate"]["source"] == "attempt",
            "the file is gone, and the certificate is still known",
        )
        done = daemon.ctl("approve", alice.fingerprint)
        assert done.returncode == 0
        command = f"eximcertctl certificate {alice.fingerprint[:16]} >{exim.certificates}/{alice.fingerprint[:16]}.pem"
        assert f"Exim refuses it until it is. As root:\n  {command}\n" in done.stdout
        file = exim.certificates / f"{alice.fingerprint[:16]}.pem"
        file.write_text(daemon.ctl("certificate", alice.fingerprint[:16]).stdout)
        until(lambda: ask(exim.port, alice).accepted, "Exim verifies it", limit=20)


@pytest.mark.parametrize(
    ("acl", "said"),
    [
        (ACL.replace("  warn", f"{PINNED}  warn", 1), ""),
        (
            PINNED.replace("condition     = ${if def:tls_in_peercert}", "verify        = certificate", 1),
            "these are not in {certs}: Exim refuses them until they are. As root:\n",
        ),
    ],
    ids=["one statement accepts by the fingerprint alone", "each statement that accepts verifies"],
)
def test_approve_names_missing_files_only_where_no_statement_accepts_without_them(
    acl: str, said: str, alice: Identity, mallory: Identity
) -> None:
    with EximServer(acl=acl) as exim, Eximcertd(exim) as daemon:
        for who in (alice, mallory):
            assert ask(exim.port, who).refused
        until(lambda: len(daemon.entries("pending")) == 2, "both are pending")
        done = daemon.ctl("approve", alice.fingerprint, mallory.fingerprint)
        assert done.returncode == 0
        assert said.format(certs=exim.certificates) in done.stdout
        assert ("openssl rehash" in done.stdout) is bool(said)
        assert ask(exim.port, alice).accepted is not bool(said)


def test_an_old_log_brings_certificates_too(alice: Identity, tmp_path: Path) -> None:
    others = [make(tmp_path, f"client{number}.example") for number in range(3)]
    log = tmp_path / "mainlog.1"
    log.write_text("".join(attempt_lines(who) for who in (alice, *others, alice)))
    with EximServer(acl=PINNED) as exim, Eximcertd(exim) as daemon:
        assert daemon.json("scan", str(log))["added"] == 5
        entries = daemon.entries("pending")
        assert {name: one["certificate"]["subject"] for name, one in entries.items()} == {
            who.fingerprint: f"CN={who.name}" for who in (alice, *others)
        }
        assert entries[alice.fingerprint]["attempts"] == 2
        pem = daemon.ctl("certificate", alice.fingerprint).stdout
        assert ssl.PEM_cert_to_DER_cert(pem) == alice.der
        assert "Nothing" in daemon.ctl("scan", str(log)).stdout


def test_a_certificate_too_long_for_a_line_of_the_log_is_a_fingerprint_only(tmp_path: Path) -> None:
    big = make(tmp_path, "big.example", names=[f"{'x' * 50}{number}.example" for number in range(100)])
    with EximServer(acl=PINNED) as exim, Eximcertd(exim) as daemon:
        assert ask(exim.port, big).refused
        until(lambda: daemon.status()["counts"]["unmatched"] == 1, "it is counted")
        assert daemon.entries("pending")[big.fingerprint]["certificate"] is None
