"""What the running processes really may and may not do, asked of the kernel."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.machine import Machine

# Prints every directory that a process may write, seen from where it is.
WRITABLE = """
import json, os, sys
found = []
for top, names, _files in os.walk("/"):
    if top == "/":
        names.remove("proc")
    if os.access(top, os.W_OK):
        found.append(top)
print(json.dumps(found))
"""


def not_its_own(places: list[str]) -> set[str]:
    """Leave out what is made for the process alone: its /tmp and its /dev."""
    return {place for place in places if not re.match(r"/(?:var/)?tmp(?:/|$)|/dev(?:/|$)", place)}


def status(machine: Machine, pid: int | str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\s*(.*)$", machine.sh(f"cat /proc/{pid}/status"), re.MULTILINE))


def test_the_daemon_has_no_capability_cannot_gain_rights_and_is_filtered(relay: Machine) -> None:
    own = status(relay, relay.pid())
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(own[kind], 16) == 0, kind
    assert own["NoNewPrivs"] == "1"
    assert own["Seccomp"] == "2"
    relay.sh("systemctl is-active bare || systemd-run --quiet --unit=bare sleep infinity")
    assert int(own["Seccomp_filters"]) > int(status(relay, relay.pid("bare.service"))["Seccomp_filters"])
    users = set(own["Uid"].split())
    assert users == {relay.sh("id -u eximcertd").strip()}


def test_the_daemon_can_write_its_state_and_nothing_else(relay: Machine) -> None:
    enter = ("nsenter", "--target", str(relay.pid()), "--mount", "--")
    user = ("setpriv", "--reuid=eximcertd", "--regid=eximcertd", "--groups=eximcertd,adm", "--inh-caps=-all")
    said = relay.run(*enter, *user, "python3", "-c", WRITABLE).stdout
    state = {
        *(f"/var/lib/eximcertd/{name}" for name in ("ledger", "allowed", "authorities", "published")),
        "/run/eximcertd",
    }
    assert not_its_own(json.loads(said)) == state
    # Even root, where the daemon is, finds the rest read-only.
    for place in ("/etc/exim4", "/var/log/exim4", "/var/lib/eximcertd", "/usr", "/run"):
        assert "Read-only file system" in relay.run(*enter, "touch", f"{place}/x", good=False).stderr, place


# Prints every mode that a directory has until the file that is named second is there.
MODES = """
import os, sys
found = set()
while not os.path.exists(sys.argv[2]):
    found.add(oct(os.stat(sys.argv[1]).st_mode & 0o7777))
    open(sys.argv[3], "w").close()
print(*found)
"""


def test_reloads_and_restarts_never_open_the_ledger_to_others(relay: Machine) -> None:
    relay.sh("rm -f /root/enough /root/looking")
    watched = ("/var/lib/eximcertd/ledger", "/root/enough", "/root/looking")
    with ThreadPoolExecutor(1) as pool:
        modes = pool.submit(relay.run, "python3", "-c", MODES, *watched)
        try:
            until(lambda: relay.run("test", "-e", "/root/looking", good=False).returncode == 0, "it looks")
            for change in ("reload", "reload", "restart", "reload"):
                relay.forget_starts()
                relay.run("systemctl", change, "eximcertd")
        finally:
            relay.run("touch", "/root/enough")
        assert modes.result().stdout.split() == ["0o700"]
    assert relay.sh("stat -c %a /var/lib/eximcertd/allowed").strip() == "755"


def test_the_publisher_can_write_exims_configuration_and_nothing_else(relay: Machine) -> None:
    relay.write("/opt/writable.py", WRITABLE)
    relay.sh("mkdir -p /run/systemd/system/eximcertd-publish@probe.service.d; rm -f /srv/found")
    relay.write(
        "/run/systemd/system/eximcertd-publish@probe.service.d/probe.conf",
        "[Service]\nType=oneshot\nExecStart=\nExecStart=/usr/bin/python3 /opt/writable.py\n"
        "RuntimeMaxSec=infinity\nStandardInput=null\nStandardOutput=file:/srv/found\n",
    )
    relay.sh("systemctl daemon-reload; systemctl start eximcertd-publish@probe")
    beyond = not_its_own(json.loads(relay.sh("cat /srv/found")))
    assert beyond
    assert all(place.startswith("/etc/exim4") for place in beyond)


def test_the_daemon_reaches_no_network(relay: Machine) -> None:
    enter = ("nsenter", "--target", str(relay.pid()), "--net", "--")
    assert relay.run(*enter, "ip", "-o", "link").stdout.count("\n") == 1
    assert not relay.run(*enter, "ss", "-Hltnu").stdout


@pytest.fixture(params=["list", "directory"])
def form(relay: Machine, request: pytest.FixtureRequest) -> Iterator[str]:
    """Configure one of the forms, for the length of a test."""
    good = relay.sh("cat /etc/eximcertd/eximcertd.toml")
    relay.write("/etc/eximcertd/eximcertd.toml", f'{good}[allowlist]\nform = "{request.param}"\n')
    relay.restart()
    yield request.param
    relay.write("/etc/eximcertd/eximcertd.toml", good)
    relay.restart()


def test_the_publisher_judges_writes_and_reloads_from_within_its_sandbox(
    relay: Machine, tmp_path: Path, form: str
) -> None:
    client = make(tmp_path, f"{form}.example")
    relay.trust(client)
    assert relay.rcpt(client) == 550
    relay.counted(client, 1)
    relay.ctl("approve", client.fingerprint)
    assert relay.json("status")["allowlist"]["form"] == form
    assert relay.rcpt(client) == 250
    relay.ctl("revoke", client.fingerprint)
    assert relay.rcpt(client) == 550


def test_no_publication_leaves_a_unit_behind(relay: Machine) -> None:
    listed = "systemctl list-units --all --plain --no-legend 'eximcertd-publish@*' 'eximcertd-reload@*'"
    until(lambda: not relay.sh(listed).strip(), "the last one is gone", limit=30)


@pytest.fixture
def syslog(relay: Machine) -> Iterator[None]:
    """Have Exim log by syslog alone, and eximcertd read the journal, for the length of a test."""
    good = relay.sh("cat /etc/eximcertd/eximcertd.toml")
    relay.sh("echo 'log_file_path = syslog' >>/etc/exim4/exim4.conf.localmacros; update-exim4.conf")
    relay.write("/etc/eximcertd/eximcertd.toml", f'{good}[log]\nsource = "journal"\n')
    relay.restart()
    yield
    relay.sh("sed -i '/^log_file_path/d' /etc/exim4/exim4.conf.localmacros; update-exim4.conf")
    relay.restart_exim()
    relay.write("/etc/eximcertd/eximcertd.toml", good)
    relay.restart()


def test_the_journal_can_be_read_from_within_the_sandbox(relay: Machine, tmp_path: Path, syslog: None) -> None:
    client = make(tmp_path, "syslog.example")
    relay.trust(client)
    assert relay.rcpt(client, times=3) == 550
    assert client.fingerprint not in relay.sh("cat /var/log/exim4/mainlog")
    relay.counted(client, 3)
