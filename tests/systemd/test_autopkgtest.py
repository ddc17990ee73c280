"""The package's DEP-8 tests (packaging/debian/tests), run as autopkgtest's null runner would run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.machine import Machine

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "packaging" / "debian" / "tests"


def test_every_test_of_the_package_passes_on_a_fresh_machine(machine: Machine) -> None:
    names = re.findall(r"(?m)^Tests: (.*)$", (TESTS / "control").read_text())[0].split()
    assert sorted(names) == sorted(path.name for path in TESTS.iterdir() if path.name != "control")
    machine.sh("mkdir -p /root/source/tests/systemd /root/work")
    machine.write("/root/source/tests/systemd/client.py", (ROOT / "tests/systemd/client.py").read_text())
    for name in names:
        script = (TESTS / name).read_text()
        machine.write(f"/root/source/{name}", script, "0755")
        machine.sh(f"cd /root/source; AUTOPKGTEST_TMP=/root/work ./{name} >&2")
