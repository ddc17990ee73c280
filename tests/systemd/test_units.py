"""The units say nothing that systemd does not understand, and are as tight as they are meant to be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab.machine import Machine

UNITS = (
    "eximcertd.service",
    "eximcertd-fleet.service",
    "eximcertd-mail.socket",
    "eximcertd-mail@.service",
    "eximcertd-publish.socket",
    "eximcertd-publish@.service",
    "eximcertd-reload.socket",
    "eximcertd-reload@.service",
)


def exposure(machine: Machine, unit: str) -> float:
    said = machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    return float(found[1])


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_every_line_of_the_unit(machine: Machine, unit: str) -> None:
    path = machine.unit(unit.replace("@", "@x"), "FragmentPath")
    said = machine.run("systemd-analyze", "verify", "--man=no", path)
    assert said.stderr == ""
    assert said.stdout == ""


def test_a_mistake_in_a_unit_would_be_seen(machine: Machine) -> None:
    machine.write("/tmp/wrong.service", "[Service]\nExecStart=/bin/true\nProtectEverything=yes\n")
    assert "ProtectEverything" in machine.run("systemd-analyze", "verify", "--man=no", "/tmp/wrong.service").stderr


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        ("eximcertd.service", 0.4),
        ("eximcertd-fleet.service", 1.0),
        ("eximcertd-publish@x.service", 1.0),
        ("eximcertd-reload@x.service", 1.5),
    ],
)
def test_the_service_is_exposed_by_no_more_than_its_limit(machine: Machine, unit: str, most: float) -> None:
    assert exposure(machine, unit) <= most


@pytest.mark.parametrize("program", ["eximcertd-publish", "eximcertd-reload"])
def test_only_the_daemon_and_root_can_ask_the_other_programs(machine: Machine, program: str) -> None:
    assert machine.sh(f"stat -c '%U %a' /run/{program}").split() == ["eximcertd", "600"]
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect('/run/{program}')"
    said = machine.run("runuser", "-u", "nobody", "--", "python3", "-c", connect, good=False)
    assert "PermissionError" in said.stderr
