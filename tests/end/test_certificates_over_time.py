"""Certificates come, go, expire and are renewed; only persons and policies decide."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from lab.certificates import Identity, make, new_key
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.recipe import PINNED_ACL
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def put(exim: EximServer, who: Identity, name: str = "") -> Path:
    return exim.trust(who, name or f"{who.name}.pem")


def with_key_identifier(directory: Path, name: str) -> Identity:
    """Make a certificate as "openssl req -x509" does; without it OpenSSL finds one of several with one name only."""
    key = new_key("ec")
    usages = [
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
    ]
    return make(directory, name, key=key, usages=usages)


def warnings(daemon: Eximcertd, who: Identity) -> str:
    return " ".join(daemon.entries()[who.fingerprint]["warnings"])


def test_an_approved_certificate_whose_file_goes_is_shown_as_gone_and_stays_approved(
    exim: EximServer, alice: Identity
) -> None:
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        for file in exim.certificates.glob("*.pem"):
            if file.read_bytes() == alice.certificate.read_bytes():
                file.unlink()
        until(lambda: "certificate gone" in warnings(daemon, alice), "it is shown as gone")
        assert daemon.entries()[alice.fingerprint]["standing"] == "approved"
        assert f"{alice.fingerprint} is approved and gone" in daemon.words()


def test_a_renewal_that_overwrites_the_old_file_is_known_by_its_key_and_replaces_the_old_one(
    exim: EximServer, identities: Path
) -> None:
    old = make(identities / "old", "relay.example")
    new = make(identities / "new", "relay.example", key=old.private)
    put(exim, old, "relay.pem")
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", old.fingerprint).returncode == 0
        put(exim, new, "relay.pem")
        until(lambda: daemon.ctl("show", new.fingerprint).returncode == 0, "the new one is known")
        exim.reload()
        assert ask(exim.port, new).refused
        until(lambda: new.fingerprint in daemon.entries("pending"), "the new one is pending")
        renews = daemon.entries("pending")[new.fingerprint]["renews"]
        assert (renews["fingerprint"], renews["same_key"]) == (old.fingerprint, True)
        assert "same key" in daemon.ctl("pending", "--long").stdout
        soon = (datetime.now(UTC) + timedelta(seconds=4)).strftime("%Y-%m-%dT%H:%M:%SZ")
        done = daemon.ctl("approve", "--replace", "--at", soon, new.fingerprint)
        assert done.returncode == 0, done.stderr
        until(lambda: daemon.entries()[old.fingerprint]["standing"] == "revoked", "the old one is revoked")
        assert daemon.entries()[new.fingerprint]["standing"] == "approved"
        assert daemon.entries()[old.fingerprint]["decision"]["by"] == "by policy"


def test_the_same_name_with_another_key_is_another_entry_and_says_so(exim: EximServer, identities: Path) -> None:
    one, two = (with_key_identifier(identities / name, "relay.example") for name in ("one", "two"))
    put(exim, one, "one.pem")
    put(exim, two, "two.pem")
    exim.reload()
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", one.fingerprint).returncode == 0
        assert ask(exim.port, two).refused
        until(lambda: two.fingerprint in daemon.entries("pending"), "it is pending")
        assert daemon.entries("pending")[two.fingerprint]["renews"]["same_key"] is False
        assert "NEW key" in daemon.ctl("pending", "--long").stdout


def test_expired_ones_are_off_the_list_and_those_that_expire_soon_are_shown_and_each_is_told_once(
    exim: EximServer, identities: Path
) -> None:
    now = datetime.now(UTC)
    ended = now - timedelta(days=60)
    expired = make(identities, "expired.example", not_before=now - timedelta(days=90), not_after=ended)
    soon = make(identities, "soon.example", not_after=now + timedelta(days=10))
    put(exim, expired)
    put(exim, soon)
    with Eximcertd(exim) as daemon:
        refused = daemon.ctl("approve", expired.fingerprint)
        assert refused.returncode == 7
        assert "it would not be on the list; --expired overrides this" in refused.stderr
        insisted = daemon.ctl("approve", "--expired", expired.fingerprint)
        assert insisted.returncode == 0
        assert f"off the list: expired since {ended:%Y-%m-%d %H:%M} UTC" in " ".join(insisted.stdout.split())
        assert expired.fingerprint not in exim.macro_file.read_text()
        assert daemon.ctl("approve", soon.fingerprint).returncode == 0
        entry = daemon.entries()[expired.fingerprint]
        assert (entry["standing"], entry["listed"]) == ("approved", False), "the clock decides nothing"
        daemon.restart()

        def counted() -> tuple[Any, Any]:
            certificates = daemon.status()["certificates"]
            return certificates["expired"], certificates["expiring"]

        until(lambda: counted() == (1, 1), "status counts them")
        assert "2 (1 expired: off the list; 1 will expire soon)" in daemon.ctl("status").stdout
        assert "off the list: expired since" in warnings(daemon, expired)
        daemon.restart()
        until(lambda: counted() == (1, 1), "status counts them again")
        assert daemon.words().count(f"{expired.fingerprint} (CN=expired.example) expired on") == 1
        assert daemon.words().count(f"{soon.fingerprint} (CN=soon.example) expires on") == 1
        assert daemon.entries()[expired.fingerprint]["standing"] == "approved"
        assert soon.fingerprint in exim.macro_file.read_text()


def test_a_rewrite_of_the_whole_directory_touches_no_decision_and_no_pending_entry(
    exim: EximServer, alice: Identity, mallory: Identity
) -> None:
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        assert ask(exim.port, mallory).refused
        until(lambda: mallory.fingerprint in daemon.entries("pending"), "it is pending")
        for _ in range(20):
            kept = {file.name: file.read_bytes() for file in exim.certificates.iterdir()}
            for name in kept:
                (exim.certificates / name).unlink()
            for name, content in kept.items():
                (exim.certificates / name).write_bytes(content)
            assert mallory.fingerprint in daemon.entries("pending")
        assert daemon.entries()[alice.fingerprint]["standing"] == "approved"
        assert "gone" not in daemon.words()


@dataclass(frozen=True)
class Changing:
    """Approved certificates whose validity changes at one moment. brief: valid until then. later: from then on."""

    at: datetime
    brief: list[Identity]
    later: Identity

    @classmethod
    def soon(cls, exim: EximServer, daemon: Eximcertd, directory: Path, brief: int) -> Changing:
        """Make and approve them before that moment: it is in some seconds, and in more if this machine is slow."""
        for seconds in (7, 20, 60, 180):
            at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
            names = [f"brief{n}of{seconds}.example" for n in range(brief)]
            made = cls(
                at,
                [make(directory, name, not_after=at) for name in names],
                make(directory, f"later{seconds}.example", not_before=at),
            )
            if made._approved(exim, daemon):
                return made
        raise AssertionError("this machine is too slow")

    def _approved(self, exim: EximServer, daemon: Eximcertd) -> bool:
        """Approve all of them, and look at what Exim does; tell whether that was early enough."""
        everybody = [*self.brief, self.later]
        for one in everybody:
            put(exim, one)
        until(lambda: self._known(daemon, everybody), "their files are known")
        done = daemon.ctl("approve", *(one.fingerprint for one in everybody))
        before, after = ask(exim.port, self.brief[0]), ask(exim.port, self.later)
        if datetime.now(UTC) >= self.at:
            return False
        assert done.returncode == 0, done.stderr
        assert f"off the list: not valid before {self.at:%Y-%m-%d %H:%M} UTC" in done.stdout
        assert before.accepted
        assert after.refused
        return True

    def _known(self, daemon: Eximcertd, everybody: list[Identity]) -> bool:
        return all(daemon.ctl("show", one.fingerprint).returncode == 0 for one in everybody)

    def happened(self, exim: EximServer) -> bool:
        """Tell whether Exim relays for the one and no longer for the others."""
        return ask(exim.port, self.later).accepted and all(ask(exim.port, one).refused for one in self.brief)


forms = pytest.mark.parametrize("form", ["list", "directory"])


@forms
def test_with_the_pinned_recipe_a_client_relays_while_its_certificate_is_valid_and_at_no_other_time(
    tmp_path: Path, form: str
) -> None:
    with (
        EximServer(acl=PINNED_ACL) as exim,
        Eximcertd(exim, {"allowlist": {"form": form}}) as daemon,
    ):
        dated = Changing.soon(exim, daemon, tmp_path, 8)  # more than one publication may remove: max_shrink
        until(lambda: dated.happened(exim), "Exim knows who is valid now", limit=60)
        assert datetime.now(UTC) >= dated.at
        entries = daemon.entries()
        assert {entries[one.fingerprint]["standing"] for one in dated.brief} == {"approved"}
        assert "off the list: expired since" in warnings(daemon, dated.brief[0])
        assert warnings(daemon, dated.later) == ""
        assert daemon.status()["certificates"]["expired"] >= 8
        assert f"{dated.brief[0].fingerprint} (CN={dated.brief[0].name}) expired on" in daemon.words()


@forms
def test_dates_that_pass_while_eximcertd_is_killed_are_put_right_when_it_starts(tmp_path: Path, form: str) -> None:
    with (
        EximServer(acl=PINNED_ACL) as exim,
        Eximcertd(exim, {"allowlist": {"form": form}}) as daemon,
    ):
        dated = Changing.soon(exim, daemon, tmp_path, 1)
        daemon.kill()
        killed_before = datetime.now(UTC) < dated.at
        until(lambda: datetime.now(UTC) > dated.at, "the moment has passed", limit=200)
        if killed_before:
            assert ask(exim.port, dated.brief[0]).accepted, "nobody looks at dates while eximcertd is down"
        daemon.start()
        until(lambda: dated.happened(exim), "Exim knows who is valid now", limit=60)


def test_a_client_whose_ca_lies_in_the_directory_is_not_called_gone(exim: EximServer, identities: Path) -> None:
    authority = make(identities, "authority.example", ca=True)
    leaf = make(identities, "leaf.example", issuer=authority)
    put(exim, authority)
    file = put(exim, leaf)
    exim.reload()
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", leaf.fingerprint).returncode == 0
        file.unlink()
        until(lambda: daemon.entries()[leaf.fingerprint]["certificate"] is None, "its file has gone")
        assert ask(exim.port, leaf).accepted
        assert warnings(daemon, leaf) == ""
        assert "gone" not in daemon.words()


def test_a_self_signed_certificate_as_openssl_makes_it_is_approved_without_an_option(
    exim: EximServer, identities: Path
) -> None:
    laptop = make(identities, "laptop.example", ca=True)
    put(exim, laptop)
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", laptop.fingerprint[:8]).returncode == 0
        assert warnings(daemon, laptop) == ""
        assert "CA:TRUE" in daemon.json("show", laptop.fingerprint)["notes"][0]


def test_the_certificate_of_a_ca_that_has_issued_others_is_approved_by_insistence_alone(
    exim: EximServer, identities: Path
) -> None:
    authority = make(identities, "authority.example", ca=True)
    put(exim, authority)
    put(exim, make(identities, "leaf.example", issuer=authority))
    with Eximcertd(exim) as daemon:
        refused = daemon.ctl("approve", authority.fingerprint)
        assert refused.returncode == 7
        assert "--ca overrides this" in refused.stderr
        assert daemon.ctl("approve", "--ca", authority.fingerprint).returncode == 0
