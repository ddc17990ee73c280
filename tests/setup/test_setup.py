"""``eximcertctl setup`` on Debian's own configuration, split and unsplit, with the Exim that Debian runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.authorities import Signer
from lab.debian import HOST, LIST, MACROS, SPLIT_MACROS, DebianServer, both
from lab.recipe import ACL
from lab.wait import until

from eximcertd.authorities.authority import Authority
from eximcertd.authorities.printed import hashes_of

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity


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
        machine.set_up("--recipe", recipe, "--authorities")
        assert machine.ask(client) == 550
        for name in hashes_of(Authority.of(authority.der).subject):
            machine.write(f"/var/lib/eximcertd/authorities/{name}", "")
        assert machine.ask(client) == 451
        assert machine.ask(stranger) == 550
        assert machine.ask(client, f"postmaster@{HOST}") == 250
        assert machine.set_up()["changed"] == []
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
        said = machine.set_up("--recipe", recipe)
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
        machine.set_up("--recipe", recipe)
        asked = machine.sh("openssl s_client -starttls smtp -connect 127.0.0.1:25 -tls1_3 </dev/null 2>&1", good=False)
        assert "No client certificate CA names sent" in asked
        assert "SSL handshake has read" in asked


@both
@pytest.mark.parametrize("recipe", ["pinned", "published"])
def test_a_second_run_finds_nothing_to_do_and_leaves_list_and_recipe_alone(
    alice: Identity, split: bool, recipe: str
) -> None:
    with DebianServer(split=split) as machine:
        first = machine.set_up(*(() if recipe == "pinned" else ("--recipe", recipe)))
        approve(machine, alice)
        files = machine.files()
        second = machine.set_up()
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
    machine.set_up()
    assert machine.ask(alice, f"postmaster@{HOST}") == 250
    assert machine.ask(alice, source="127.0.0.1") == 250, "Debian relays for this machine itself"
    assert "ttempt" not in machine.log()


@both
def test_a_dry_run_shows_everything_but_the_key_and_writes_nothing(split: bool) -> None:
    with DebianServer(split=split) as machine:
        before = machine.files()
        shown = machine.ctl("setup", "--dry-run").stdout
        assert "+acl_check_rcpt_certs:" in shown
        assert "make /etc/exim4/exim.key (a secret, not shown)" in shown
        assert "PRIVATE KEY" not in shown
        assert machine.files() == before


def test_an_answer_of_no_changes_nothing(machine: DebianServer) -> None:
    before = machine.files()
    done = machine.ctl("setup", given="n\n", good=False)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert machine.files() == before
    machine.set_up()
    there = machine.files()
    done = machine.ctl("setup", "--undo", given="n\n", good=False)
    assert "Remove this? [y/N]" in done.stdout
    assert machine.files() == there


@both
def test_macros_that_the_site_has_set_itself_are_left_to_it(alice: Identity, split: bool) -> None:
    with DebianServer(split=split) as machine:
        own = SPLIT_MACROS if split else MACROS
        machine.write(own, "MAIN_TLS_ENABLE = 1\nMAIN_LOG_SELECTOR = +all\n")
        machine.sh("update-exim4.conf")
        machine.set_up()
        assert machine.ask(alice) == 550
        assert alice.fingerprint in machine.log()
        machine.ctl("setup", "--undo", "--yes")
        assert machine.sh(f"cat {own}") == "MAIN_TLS_ENABLE = 1\nMAIN_LOG_SELECTOR = +all\n"


def test_without_root_it_says_so(machine: DebianServer) -> None:
    done = machine.run("setpriv", "--reuid=nobody", *machine.ctl_command("setup", "--dry-run"), good=False)
    assert done.returncode == 5
    assert "run it as root" in done.stderr
