"""``eximcertctl setup --units``: what a distribution's package would install, after an installation with pip."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab.debian import DebianServer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

PREFIX = "/var/opt/eximcertd"
CTL = "from eximcertd.cli import main; main()"
USERS = ("/etc/group", "/etc/gshadow", "/etc/passwd", "/etc/shadow")
UNITS = Path(__file__).parents[2] / "packaging/systemd"
BY_HAND = """\
keep_environment =
exim_user = daemon
exim_group = daemon
log_file_path = /var/log/elsewhere/%slog
begin acl
"""


def install(machine: DebianServer, prefix: str) -> None:
    """Make a virtual environment of root's with eximcertd in it, as pip would."""
    paths = "\n".join(path for path in sys.path if path.startswith("/"))
    machine.sh(f"""
        /usr/bin/python3 -m venv --without-pip {prefix}
        if [ -d {sys.prefix}/share/eximcertd ]; then cp -r {sys.prefix}/share {prefix}; fi
    """)
    machine.write(f"{prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/lab.pth", paths)


@pytest.fixture
def machine() -> Iterator[DebianServer]:
    """Make a machine without eximcertd's package, which no systemd manages."""
    with DebianServer() as made:
        made.sh("mount -t tmpfs local /usr/local; rm -rf /run/systemd/system")
        install(made, PREFIX)
        yield made


def units(
    machine: DebianServer, *options: str, prefix: str = PREFIX, good: bool = True
) -> subprocess.CompletedProcess[str]:
    return machine.run(f"{prefix}/bin/python", "-c", CTL, "setup", "--units", "--yes", *options, good=good)


def without_users(files: dict[str, str]) -> dict[str, Any]:
    """Return a listing without the files that hold users: systemd-sysusers adds one, and none is ever removed."""
    return {path: line for path, line in files.items() if path.removesuffix("-") not in USERS and path != "/etc"}


def test_units_user_manuals_and_configuration_are_installed_and_undo_removes_them(machine: DebianServer) -> None:
    before = without_users(machine.files())
    assert "nothing was started" in units(machine).stdout
    here = "/usr/local/lib/systemd/system"
    for name in ("eximcertd", "eximcertd-publish@", "eximcertd-reload@"):
        program = name.removesuffix("@")
        assert f"ExecStart={PREFIX}/bin/{program}\n" in machine.sh(f"cat {here}/{name}.service")
    machine.sh(f"test -e {here}/eximcertd-publish.socket; test -e {here}/eximcertd-reload.socket")
    machine.sh("getent passwd eximcertd; test -e /usr/local/lib/systemd/catalog/eximcertd.catalog")
    for page in ("man8/eximcertd.8", "man8/eximcertctl.8", "man5/eximcertd.toml.5"):
        machine.sh(f"test -e /usr/local/share/man/{page}")
    assert "[allowlist]" in machine.sh("cat /etc/eximcertd/eximcertd.toml")
    assert machine.sh("find /etc/systemd/system -name '*eximcert*'") == "", "Debian's Exim needs no drop-in"

    assert "Nothing to do" in units(machine).stdout
    units(machine, "--undo")
    assert without_users(machine.files()) == before
    assert machine.sh("find /usr/local -type f") == ""


def test_drop_ins_name_exims_user_and_directory_and_the_group_of_its_log(machine: DebianServer) -> None:
    machine.write("/etc/exim4/exim4.conf", BY_HAND)
    machine.write("/etc/eximcertd/eximcertd.toml", '[allowlist]\nfile = "/etc/mail/relay_from_certs"\n')
    machine.sh("""
        mkdir -p /var/log/elsewhere /etc/mail; echo RELAY_FROM_CERTS = >/etc/mail/relay_from_certs
        chown daemon:daemon /var/log/elsewhere; chmod 750 /var/log/elsewhere
    """)
    printed = machine.run(f"{PREFIX}/bin/python", "-c", CTL, "setup").stdout
    assert "expect another Exim. Run:\n\neximcertctl setup --units\n" in printed

    units(machine)
    for unit, name, lines in (
        ("eximcertd-reload@.service", "exim-user", "User=daemon\nGroup=daemon\n"),
        ("eximcertd-publish@.service", "macro-file", "ReadWritePaths=-/etc/mail\n"),
        ("eximcertd.service", "log-group", "SupplementaryGroups=\nSupplementaryGroups=daemon\n"),
    ):
        assert machine.sh(f"cat /etc/systemd/system/{unit}.d/{name}.conf").endswith(f"[Service]\n{lines}")
    assert "setup --units" not in machine.run(f"{PREFIX}/bin/python", "-c", CTL, "setup").stdout
    assert machine.sh("head -1 /etc/eximcertd/eximcertd.toml") == "[allowlist]\n", "what is there stays"
    units(machine, "--undo")
    assert machine.sh("find /etc/systemd/system -name '*eximcert*'; ls /etc/eximcertd") == "eximcertd.toml\n"


def test_programs_that_the_units_cannot_see_or_that_others_can_write_are_refused(machine: DebianServer) -> None:
    install(machine, "/var/tmp/eximcertd")
    before = machine.files()
    hidden = units(machine, prefix="/var/tmp/eximcertd", good=False)
    assert hidden.returncode == 1
    assert "the units' sandbox hides /var/tmp/eximcertd/bin" in hidden.stderr
    machine.sh(f"chmod 777 {PREFIX}/bin")
    loose = units(machine, good=False)
    assert loose.returncode == 1
    assert f"users other than root can write {PREFIX}/bin" in loose.stderr
    assert machine.files() == before
    assert not Path("/usr/local/lib/systemd/system/eximcertd.service").exists()


def test_if_a_command_fails_after_the_start_the_service_is_stopped_before_its_units_go(machine: DebianServer) -> None:
    before = without_users(machine.files())
    machine.sh("""
        mkdir -p /run/systemd/system
        printf '#!/bin/sh\\necho "$*" >>/run/commands\\n' >/run/works
        printf '#!/bin/sh\\nexit 1\\n' >/run/fails
        chmod 755 /run/works /run/fails
        mount --bind /run/works /usr/bin/systemctl; mount --bind /run/fails /usr/bin/journalctl
    """)
    failed = units(machine, good=False)
    assert failed.returncode == 1
    assert "journalctl --update-catalog failed" in failed.stderr
    commands = machine.sh("cat /run/commands").splitlines()
    assert "restart eximcertd.service" in commands
    stopped, last = commands[-2:]
    assert last == "daemon-reload"
    assert stopped.startswith("disable --now ")
    enabled = {path.name for path in UNITS.iterdir() if "[Install]" in path.read_text()}
    assert enabled <= {*stopped.split()}, "none of them may be left running, or be started at the next boot"
    assert without_users(machine.files()) == before
