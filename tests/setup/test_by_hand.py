"""A configuration that is written by hand: setup changes nothing, and prints lines that do the job where it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from lab.debian import HOST, DebianServer
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

CONFIGURATION = "/etc/exim4/exim4.conf"
HEAD = """\
keep_environment =
primary_hostname = mx.lab.example
domainlist ours = @ : localhost
hostlist friends = 127.0.0.1
log_file_path = /var/log/exim4/%slog
tls_advertise_hosts = *
tls_certificate = /etc/exim4/exim.crt
tls_privatekey = /etc/exim4/exim.key
"""
SMALL = f"""\
{HEAD}acl_smtp_rcpt = acl_check_rcpt

begin acl

acl_check_rcpt:
  accept  domains       = +ours
  accept  hosts         = +friends
  deny    message       = relay not permitted

begin routers
"""
ELABORATE = f"""\
{HEAD}acl_smtp_rcpt = incoming
acl_smtp_connect = hello
acl_smtp_starttls = crypt
log_selector = +tls_peerdn
tls_try_verify_hosts = 10.0.0.0/8

begin acl

hello:
  deny    hosts         = 192.0.2.1
  accept

crypt:
  accept

incoming:
  accept  hosts         = +friends
  require message       = relay not permitted
          domains       = +ours
  accept

begin routers
"""
REFUSING = (
    "  deny    message       = relay not permitted\n",
    "  require message       = relay not permitted\n",
)


@pytest.fixture
def machine() -> Iterator[DebianServer]:
    with DebianServer() as made:
        made.sh(f"""
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={HOST} -days 9 \\
                -keyout /etc/exim4/exim.key -out /etc/exim4/exim.crt 2>/dev/null
            chgrp Debian-exim /etc/exim4/exim.key; chmod 640 /etc/exim4/exim.key
        """)
        yield made


def additions(machine: DebianServer, *options: str) -> list[dict[str, str]]:
    """Return what setup says is missing."""
    said: dict[str, Any] = machine.json("setup", "--dry-run", *options)
    assert said["configuration"] == "handwritten"
    found: list[dict[str, str]] = said["additions"]
    return found


def added(text: str, addition: dict[str, str], refusing: str) -> str:
    """Return a configuration with what setup printed, put where it says."""
    where, lines = addition["where"], addition["lines"]
    if where.startswith("Add at the top"):
        return lines + text
    if where.startswith("Set in the main section"):
        names = {line.partition(" ")[0] for line in lines.splitlines()}
        kept = [line for line in text.splitlines(keepends=True) if line.partition(" ")[0] not in names]
        return "".join(kept).replace("begin acl\n", f"{lines}\nbegin acl\n", 1)
    if "before the statement" in where:
        return text.replace(refusing, f"{lines}\n{refusing}", 1)
    if where.startswith("Add at the beginning of the ACL "):
        name = where.split()[7]
        return text.replace(f"{name}:\n", f"{name}:\n{lines}\n", 1)
    assert where == "Add at the end of the ACL section:"
    return text.replace("begin routers\n", f"{lines}\nbegin routers\n", 1)


@pytest.mark.parametrize("recipe", ["pinned", "published"])
@pytest.mark.parametrize("text", [SMALL, ELABORATE], ids=["small", "elaborate"])
def test_the_lines_put_where_setup_says_make_exim_refuse_log_and_relay(
    machine: DebianServer, alice: Identity, text: str, recipe: str
) -> None:
    machine.write("/etc/ssl/certs/alice.pem", alice.pem)
    machine.write(CONFIGURATION, text)
    before = machine.files()
    first, *others = additions(machine, "--recipe", recipe)
    assert machine.files() == before
    assert first["where"] == "Make the file /etc/exim4/relay_from_certs, with one line:"

    machine.write("/etc/exim4/relay_from_certs", first["lines"])
    for addition in others:
        text_before = text
        text = added(text, addition, refusing(text))
        assert text != text_before, addition["where"]
    machine.write(CONFIGURATION, text)
    assert "#logwrite     = Relay for the certificate: ${sha256:$tls_in_peercert}\n" in text
    assert additions(machine) == [], "the recipe that stands there is the default"

    machine.sh("kill $(cat /run/exim4/exim.pid); while pidof exim4 >/dev/null; do :; done")
    machine.start_exim()
    checked = [line["sentence"] for line in machine.json("check", good=False) if line["verdict"] != "ok"]
    assert not [line for line in checked if re.search("acl|tls|log_selector|RELAY_FROM_CERTS", line, re.IGNORECASE)]
    assert machine.ask(alice) == 550
    assert machine.ask(alice, f"root@{HOST}") == 250
    assert machine.log().count(f"explicitly allowed: {alice.fingerprint}") == 1
    machine.write("/etc/exim4/relay_from_certs", f"RELAY_FROM_CERTS = {alice.fingerprint}\n")
    machine.sh("kill -HUP $(cat /run/exim4/exim.pid)")
    until(lambda: machine.ask(alice) == 250, "the approved client relays")


def refusing(text: str) -> str:
    """Return the first line of the statement that refuses to relay."""
    return next(line for line in REFUSING if line in text)


def test_setup_says_it_in_words(machine: DebianServer) -> None:
    machine.write(CONFIGURATION, ELABORATE)
    shown = machine.ctl("setup").stdout
    assert f"{CONFIGURATION} is written by hand: setup changes nothing in it." in shown
    assert "# instead of tls_try_verify_hosts = 10.0.0.0/8\ntls_try_verify_hosts = *\n" in shown
    assert "Add in the ACL incoming, before the statement\n\n    require message = relay not permitted\n" in shown
    assert "Add at the beginning of the ACL hello (acl_smtp_connect):" in shown
    assert "Recipe: pinned." in shown
    assert 'run "eximcertctl check"' in shown
