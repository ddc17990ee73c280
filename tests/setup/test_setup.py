"""``eximcertctl setup`` on Debian's own configuration, split and unsplit, with the Exim that Debian runs."""

from __future__ import annotations

import hashlib
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from lab.authorities import Signer
from lab.certificates import make
from lab.debian import HOST, MACROS, DebianServer
from lab.recipe import ACL
from lab.wait import until

from eximcertd.authorities.authority import Authority
from eximcertd.authorities.printed import hashes_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.certificates import Identity

LIST = "/etc/exim4/relay_from_certs"
SPLIT_MACROS = "/etc/exim4/conf.d/main/00_site"
both = pytest.mark.parametrize("split", [True, False], ids=["split", "unsplit"])


@pytest.fixture
def machine() -> Iterator[DebianServer]:
    """Make a machine with Debian's split configuration."""
    with DebianServer(split=True) as made:
        yield made


def set_up(machine: DebianServer, *options: str) -> dict[str, Any]:
    """Run setup; its exit status is 1, as no eximcertd runs here."""
    said: dict[str, Any] = machine.json("setup", "--yes", *options, good=False)
    return said


def approve(machine: DebianServer, identity: Identity) -> None:
    """Put a fingerprint on the list as eximcertd would."""
    machine.write(LIST, f"RELAY_FROM_CERTS = {identity.fingerprint}\n")
    machine.sh("kill -HUP $(cat /run/exim4/exim.pid)")


@both
@pytest.mark.parametrize("recipe", ["pinned", "published"])
def test_a_client_of_an_authority_is_to_try_again_until_eximcertd_has_looked(
    tmp_path: Path, split: bool, recipe: str
) -> None:
    authority = Signer("Site CA")
    client, stranger = (one.issue("a.example").identity(tmp_path) for one in (authority, Signer("Another CA")))
    with DebianServer(split=split) as machine:
        before = machine.files()
        assert "authorities does not exist" in machine.ctl("setup", "--yes", "--authorities", good=False).stderr
        machine.sh("mkdir -p /var/lib/eximcertd/allowed /var/lib/eximcertd/authorities")
        machine.write("/etc/ssl/certs/site.pem", authority.pem.decode())
        set_up(machine, "--recipe", recipe, "--authorities")
        assert machine.ask(client) == 550
        for name in hashes_of(Authority.of(authority.der).subject):
            machine.write(f"/var/lib/eximcertd/authorities/{name}", "")
        assert machine.ask(client) == 451
        assert machine.ask(stranger) == 550
        assert machine.ask(client, f"postmaster@{HOST}") == 250
        assert set_up(machine)["changed"] == []
        machine.sh("rm -f /etc/ssl/certs/site.pem")
        machine.ctl("setup", "--undo", "--yes")
        machine.sh("rm -r /var/lib/eximcertd")
        assert machine.files() == before


@both
@pytest.mark.parametrize("recipe", ["pinned", "published"])
def test_a_client_is_refused_then_relays_once_approved_and_undo_leaves_nothing(
    alice: Identity, mallory: Identity, split: bool, recipe: str
) -> None:
    with DebianServer(split=split) as machine:
        before, pid = machine.files(), machine.exim_pid()
        if recipe == "published":
            machine.write("/etc/ssl/certs/alice.pem", alice.pem)
        said = set_up(machine, "--recipe", recipe)
        assert said["configuration"] == ("split" if split else "unsplit")

        assert machine.ask(alice) == 550
        assert machine.ask(None) == 550
        assert f"explicitly allowed: {alice.fingerprint}" in machine.log()
        assert f"Certificate of the attempt: {alice.fingerprint}" in machine.log()
        approve(machine, alice)
        until(lambda: machine.ask(alice) == 250, "the approved client relays")
        assert machine.ask(mallory) == 550
        assert (f"explicitly allowed: {mallory.fingerprint}" in machine.log()) == (recipe == "pinned")

        machine.sh("rm -f /etc/ssl/certs/alice.pem")
        machine.ctl("setup", "--undo", "--yes")
        assert machine.files() == before
        assert machine.exim_pid() == pid, "Exim was never restarted"
        assert machine.greets()


@both
@pytest.mark.parametrize("recipe", ["pinned", "published"])
def test_no_names_of_authorities_are_sent_since_a_client_with_gnutls_shows_no_self_signed_certificate_then(
    split: bool, recipe: str
) -> None:
    with DebianServer(split=split) as machine:
        set_up(machine, "--recipe", recipe)
        asked = machine.sh("openssl s_client -starttls smtp -connect 127.0.0.1:25 -tls1_3 </dev/null 2>&1", good=False)
        assert "No client certificate CA names sent" in asked
        assert "SSL handshake has read" in asked


@both
@pytest.mark.parametrize("recipe", ["pinned", "published"])
def test_a_second_run_finds_nothing_to_do_and_leaves_list_and_recipe_alone(
    alice: Identity, split: bool, recipe: str
) -> None:
    with DebianServer(split=split) as machine:
        first = set_up(machine, *(() if recipe == "pinned" else ("--recipe", recipe)))
        approve(machine, alice)
        files = machine.files()
        second = set_up(machine)
        assert (first["recipe"], second["recipe"]) == (recipe, recipe)
        assert second["changed"] == []
        assert second["server_fingerprint"] == first["server_fingerprint"]
        assert machine.files() == files


def test_a_published_recipe_that_the_site_has_written_itself_stays_the_recipe(machine: DebianServer) -> None:
    machine.write(LIST, "RELAY_FROM_CERTS =\n")
    machine.write("/etc/exim4/conf.d/main/00_site", f".include {LIST}\nCHECK_RCPT_LOCAL_ACL_FILE = /etc/exim4/certs\n")
    machine.write("/etc/exim4/certs", ACL.rpartition("deny")[0])
    machine.sh("update-exim4.conf")
    said = machine.json("setup", "--dry-run")
    assert said["recipe"] == "published"


def test_mail_for_this_site_is_no_attempt_to_relay(machine: DebianServer, alice: Identity) -> None:
    set_up(machine)
    assert machine.ask(alice, f"postmaster@{HOST}") == 250
    assert machine.ask(alice, source="127.0.0.1") == 250, "Debian relays for this machine itself"
    assert "ttempt" not in machine.log()


def test_the_new_certificate_is_for_the_servers_name_and_its_key_is_for_exims_group_alone(
    machine: DebianServer,
) -> None:
    said = set_up(machine)
    certificate = x509.load_pem_x509_certificate(machine.sh("cat /etc/exim4/exim.crt").encode())
    assert said["server_fingerprint"] == hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest().upper()
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOST]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert machine.sh("stat -c '%a %U %G' /etc/exim4/exim.key") == "640 root Debian-exim\n"
    assert said["client_command"] == (
        f"eximcertctl client setup {HOST} --server-fingerprint {said['server_fingerprint']}"
    )


@both
def test_a_dry_run_shows_everything_but_the_key_and_writes_nothing(split: bool) -> None:
    with DebianServer(split=split) as machine:
        before = machine.files()
        shown = machine.ctl("setup", "--dry-run").stdout
        assert "+acl_check_rcpt_certs:" in shown
        assert "make /etc/exim4/exim.key (a secret, not shown)" in shown
        assert "PRIVATE KEY" not in shown
        assert machine.files() == before


def test_whoever_says_no_has_changed_nothing(machine: DebianServer) -> None:
    before = machine.files()
    done = machine.ctl("setup", given="n\n", good=False)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert machine.files() == before
    set_up(machine)
    there = machine.files()
    done = machine.ctl("setup", "--undo", given="n\n", good=False)
    assert "Remove this? [y/N]" in done.stdout
    assert machine.files() == there


def test_a_certificate_that_works_is_kept(machine: DebianServer, tmp_path: Path) -> None:
    own = make(tmp_path, HOST, key="rsa")
    install(machine, own)
    said = set_up(machine)
    assert said["server_fingerprint"] == own.fingerprint
    machine.ctl("setup", "--undo", "--yes")
    assert machine.sh("cat /etc/exim4/exim.crt") == own.pem


def test_a_key_that_exim_cannot_read_is_named_and_not_overwritten(machine: DebianServer, tmp_path: Path) -> None:
    install(machine, make(tmp_path, HOST))
    machine.sh("chgrp root /etc/exim4/exim.key")
    before = machine.files()
    done = machine.ctl("setup", "--yes", good=False)
    assert done.returncode == 1
    assert "Debian-exim cannot read /etc/exim4/exim.key" in done.stderr
    assert "chgrp Debian-exim /etc/exim4/exim.key" in done.stderr
    assert machine.files() == before


@both
def test_macros_that_the_site_has_set_itself_are_left_to_it(alice: Identity, split: bool) -> None:
    with DebianServer(split=split) as machine:
        own = SPLIT_MACROS if split else MACROS
        machine.write(own, "MAIN_TLS_ENABLE = 1\nMAIN_LOG_SELECTOR = +all\n")
        machine.sh("update-exim4.conf")
        set_up(machine)
        assert machine.ask(alice) == 550
        assert alice.fingerprint in machine.log()
        machine.ctl("setup", "--undo", "--yes")
        assert machine.sh(f"cat {own}") == "MAIN_TLS_ENABLE = 1\nMAIN_LOG_SELECTOR = +all\n"


@both
def test_a_setting_of_the_sites_that_stands_in_the_way_is_named_and_nothing_is_written(split: bool) -> None:
    with DebianServer(split=split) as machine:
        own = SPLIT_MACROS if split else MACROS
        machine.write(own, "MAIN_ACL_CHECK_RCPT = acl_of_ours\n")
        machine.sh("update-exim4.conf")
        before = machine.files()
        done = machine.ctl("setup", "--yes", good=False)
        assert done.returncode == 1
        assert f"{own} sets MAIN_ACL_CHECK_RCPT = acl_of_ours" in done.stderr
        assert machine.files() == before


def test_what_makes_the_configuration_invalid_is_found_before_it_is_live(machine: DebianServer) -> None:
    machine.write("/etc/exim4/conf.d/main/05_site", "acl_smtp_connect = accept\n")
    machine.sh("update-exim4.conf")
    before, pid = machine.files(), machine.exim_pid()
    done = machine.ctl("setup", "--yes", good=False)
    assert done.returncode == 1
    assert "acl_smtp_connect" in done.stderr
    assert machine.files() == before
    assert machine.exim_pid() == pid


def test_a_macro_of_the_sites_that_breaks_an_expansion_is_found_before_it_is_live(machine: DebianServer) -> None:
    # Exim reads such a configuration without complaint (-bV), and answers 451 to every client
    machine.write("/etc/exim4/conf.d/main/00_a", "Att = ${\n")
    machine.sh("update-exim4.conf")
    before, pid = machine.files(), machine.exim_pid()
    done = machine.ctl("setup", "--yes", good=False)
    assert done.returncode == 1
    assert "cannot expand" in done.stderr
    assert machine.files() == before
    assert machine.exim_pid() == pid


def test_an_edit_that_somebody_has_not_made_live_yet_is_not_made_live_by_setup(machine: DebianServer) -> None:
    machine.write("/etc/exim4/conf.d/main/50_site", "daemon_smtp_ports = 2525\n")
    before, pid = machine.files(), machine.exim_pid()
    done = machine.ctl("setup", "--yes", good=False)
    assert done.returncode == 1
    assert "/etc/exim4 was edited since Exim's configuration was generated" in done.stderr
    assert machine.files() == before
    assert machine.exim_pid() == pid


def test_an_exim_that_ends_when_it_is_reloaded_runs_again_with_the_old_configuration(machine: DebianServer) -> None:
    # Exim validates this without complaint: only a daemon looks its ports up
    machine.write(
        "/etc/exim4/conf.d/main/50_site", ".ifdef MAIN_TLS_ENABLE\ndaemon_smtp_ports = no_such_service\n.endif\n"
    )
    machine.sh("update-exim4.conf")
    before = machine.files()
    done = machine.ctl("setup", "--yes", good=False)
    assert done.returncode == 1
    assert "no_such_service" in done.stderr
    assert machine.files() == before
    until(machine.greets, "Exim greets")


def test_a_connection_that_exim_refuses_while_another_process_reloads_it_is_tried_again(machine: DebianServer) -> None:
    ctl = shlex.join(machine.ctl_command("setup", "--yes", "--json"))
    reloading = "while :; do kill -HUP $(cat /run/exim4/exim.pid); sleep 0.08; done"
    machine.sh(f"({reloading}) & loop=$!; {ctl} >/etc/said 2>&1 || true; kill $loop; grep -q server_fing /etc/said")
    until(machine.greets, "Exim greets")
    assert "acl_smtp_rcpt = acl_check_rcpt_certs" in machine.sh("exim4 -bP acl_smtp_rcpt")


def test_if_starttls_fails_afterwards_the_old_configuration_is_live_again(machine: DebianServer) -> None:
    machine.write(SPLIT_MACROS, "MAIN_TLS_ADVERTISE_HOSTS = 192.0.2.1\n")
    machine.sh("update-exim4.conf")
    before, pid = machine.files(), machine.exim_pid()
    done = machine.ctl("setup", "--yes", good=False)
    assert done.returncode != 0
    assert "STARTTLS" in done.stderr
    assert machine.files() == before
    assert machine.exim_pid() == pid
    until(machine.greets, "Exim greets")
    assert "eximcertd" not in machine.sh("exim4 -bP acl_smtp_connect acl_smtp_rcpt")


@pytest.mark.parametrize(
    "appears",
    [LIST, "/etc/exim4/conf.d/acl/50_local_eximcertd", "/etc/exim4/conf.d/main/00_local_eximcertd", "live"],
)
def test_killed_at_any_moment_it_leaves_an_exim_that_works_and_the_next_run_finishes_or_undoes_it(
    machine: DebianServer, appears: str
) -> None:
    before = machine.files()
    seen = "grep -q acl_eximcertd /var/lib/exim4/config.autogenerated" if appears == "live" else f"test -e {appears}"
    ctl = shlex.join(machine.ctl_command("setup", "--yes"))
    machine.sh(f"{ctl} >/dev/null 2>&1 & while ! {seen}; do :; done; kill -9 $!; wait $! || true")
    machine.sh("exim4 -bV >/dev/null")
    until(machine.greets, "Exim greets")
    set_up(machine)
    assert machine.ask(None) == 550
    assert "acl_smtp_rcpt = acl_check_rcpt_certs" in machine.sh("exim4 -bP acl_smtp_rcpt")
    machine.ctl("setup", "--undo", "--yes")
    assert machine.files() == before


@both
def test_undo_that_is_killed_leaves_an_exim_that_works_and_the_next_one_finishes_it(split: bool) -> None:
    with DebianServer(split=split) as machine:
        before = machine.files()
        set_up(machine)
        lines = "/etc/exim4/conf.d/main/00_local_eximcertd" if split else MACROS
        ctl = shlex.join(machine.ctl_command("setup", "--undo", "--yes"))
        machine.sh(f"{ctl} >/dev/null 2>&1 & while test -e {lines}; do :; done; kill -9 $!; wait $! || true")
        machine.sh("exim4 -bV >/dev/null")
        until(machine.greets, "Exim greets")
        machine.ctl("setup", "--undo", "--yes")
        assert machine.files() == before
        assert "nothing" in machine.ctl("setup", "--undo", "--yes").stdout


def test_without_root_it_says_so(machine: DebianServer) -> None:
    done = machine.run("setpriv", "--reuid=nobody", *machine.ctl_command("setup", "--dry-run"), good=False)
    assert done.returncode == 5
    assert "run it as root" in done.stderr


def install(machine: DebianServer, identity: Identity) -> None:
    """Make a certificate and its key Exim's."""
    machine.write("/etc/exim4/exim.crt", identity.pem)
    machine.write("/etc/exim4/exim.key", identity.key.read_text())
    machine.sh("chgrp Debian-exim /etc/exim4/exim.key; chmod 640 /etc/exim4/exim.key")
