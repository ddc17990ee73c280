"""Upgrade, removal and purge: no decision is lost before the purge, and Exim goes on through all of it."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.certificates import Identity, make

if TYPE_CHECKING:
    from lab.machine import Machine

ROOT = Path(__file__).parents[2]


@pytest.fixture
def approved(relay: Machine, package: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Identity:
    """Install the package where it is not, and approve a client."""
    relay.install(package)
    identity = make(tmp_path, f"client-{abs(hash(request.node.name))}.example")
    relay.trust(identity)
    assert relay.rcpt(identity) == 550
    relay.counted(identity, 1)
    relay.ctl("approve", identity.fingerprint)
    assert relay.rcpt(identity) == 250
    return identity


def test_an_upgrade_starts_the_new_daemon_and_keeps_decisions_and_configuration(
    relay: Machine, package: Path, approved: Identity
) -> None:
    pid, configuration = relay.pid(), relay.sh("cat /etc/eximcertd/eximcertd.toml")
    relay.install(package)
    assert relay.pid() not in {0, pid}
    assert relay.sh("cat /etc/eximcertd/eximcertd.toml") == configuration
    entry = relay.entry(approved)
    assert entry is not None
    assert entry["standing"] == "approved"
    assert relay.rcpt(approved) == 250


@pytest.mark.parametrize("form", ["list", "directory"])
def test_removed_exim_keeps_its_list_purged_it_relays_for_nobody_and_never_answers_451(
    relay: Machine, approved: Identity, form: str
) -> None:
    relay.write("/etc/eximcertd/eximcertd.toml", f'[allowlist]\nform = "{form}"\n')
    relay.restart()
    assert relay.json("status")["allowlist"]["form"] == form

    said = relay.run("dpkg", "--remove", "eximcertd")
    assert "stay" in said.stderr
    assert relay.run("systemctl", "status", "eximcertd", good=False).returncode == 4  # no such unit
    assert relay.rcpt(approved) == 250
    relay.restart_exim()
    assert relay.rcpt(approved) == 250

    said = relay.run("dpkg", "--purge", "eximcertd")
    assert "/etc/exim4/relay_from_certs is emptied, not removed" in said.stderr
    assert "every decision, who made it and when" in said.stderr
    assert relay.rcpt(approved) in {250, 550}  # a running Exim may have the old list until it is reloaded
    relay.restart_exim()
    assert relay.rcpt(approved) == 550
    assert relay.sh("ls /var/lib/eximcertd 2>/dev/null || true").split() == (["allowed"] if form == "directory" else [])
    assert relay.sh("ls /etc/eximcertd /run/eximcertd* 2>/dev/null || true") == ""


def test_purged_where_exim_does_not_include_it_the_macro_file_goes_too(relay: Machine, approved: Identity) -> None:
    relay.sh("rm /etc/exim4/exim4.conf.localmacros; update-exim4.conf")
    said = relay.run("dpkg", "--purge", "eximcertd")
    assert "/etc/exim4/relay_from_certs is removed" in said.stderr
    assert relay.sh("ls -d /etc/exim4/relay_from_certs* /var/lib/eximcertd 2>/dev/null || true") == ""
    relay.restart_exim()


def test_exim_that_comes_later_brings_the_daemon_up(relay: Machine, package: Path) -> None:
    relay.install(package)
    good = relay.sh("cat /etc/eximcertd/eximcertd.toml")
    relay.write("/etc/eximcertd/eximcertd.toml", "[log]\npath = 7\n")  # it ends as it does without Exim: status 78
    relay.run("systemctl", "restart", "eximcertd", good=False)
    assert relay.unit("eximcertd", "ActiveState") == "failed"
    assert relay.unit("eximcertd", "ExecMainStatus") == "78"
    relay.write("/etc/eximcertd/eximcertd.toml", good)
    relay.sh("dpkg-trigger --by-package=exim4-daemon-heavy /usr/sbin/exim4; dpkg --triggers-only --pending")
    assert relay.unit("eximcertd", "ActiveState") == "active"


def test_after_an_installation_with_pip_setup_installs_a_service_that_runs_and_undo_removes_it(
    relay: Machine, tmp_path: Path
) -> None:
    relay.sh("dpkg --purge eximcertd; rm -rf /etc/exim4/*certs* /etc/exim4/exim4.conf.localmacros /etc/exim4/exim.*")
    relay.sh("update-exim4.conf; python3 -m venv --without-pip --system-site-packages /opt/eximcertd")
    relay.restart_exim()
    prefix = relay.path("/opt/eximcertd")
    [modules] = prefix.glob("lib/python3*/site-packages")
    shutil.copytree(ROOT / "eximcertd", modules / "eximcertd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "packaging/systemd", prefix / "share/eximcertd/systemd")
    shutil.copytree(ROOT / "docs/man", prefix / "share/man/man8")
    shutil.copy(ROOT / "etc/eximcertd.toml", prefix / "share/eximcertd")
    with (ROOT / "pyproject.toml").open("rb") as stream:
        scripts = tomllib.load(stream)["project"]["scripts"]
    for name, start in scripts.items():
        module, function = start.split(":")
        text = f"#!/opt/eximcertd/bin/python\nfrom {module} import {function}\n{function}()\n"
        relay.write(f"/opt/eximcertd/bin/{name}", text, "0755")

    ctl = "/opt/eximcertd/bin/eximcertctl"
    before = relay.sh("find /etc/systemd /etc/exim4 /usr/local -type f | sort")
    assert 'Done. eximcertd runs. Next: "eximcertctl setup".' in relay.run(ctl, "setup", "--units", "--yes").stdout
    assert relay.unit("eximcertd", "ActiveState") == "active"
    assert relay.run(ctl, "setup", "--yes").returncode == 0
    identity = make(tmp_path, "pip.example")
    relay.write(f"/root/{identity.name}.pem", identity.pem + identity.key.read_text())
    assert relay.rcpt(identity) == 550
    relay.run(ctl, "approve", identity.fingerprint, "--without-certificate")
    assert relay.rcpt(identity) == 250

    relay.run(ctl, "setup", "--undo", "--yes")
    relay.run(ctl, "setup", "--units", "--undo", "--yes")
    assert relay.run("systemctl", "status", "eximcertd", good=False).returncode == 4  # no such unit
    left = "find /etc/systemd /etc/exim4 /usr/local -type f ! -name 'relay_from_certs*' | sort"
    assert relay.sh(left) == before
