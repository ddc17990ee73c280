"""Machines with the package installed: one for each module and each Debian that is supported."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
# Debian 12, with systemd 252, and Debian 13, with 257; SUITE=... for one of them alone.
SUITES = (os.environ["SUITE"],) if "SUITE" in os.environ else ("bookworm", "trixie")
CONFIGURATION = '[control]\napprovers = ["postmasters"]\n[publish]\nmin_interval = "0s"\nmax_shrink = 100\n'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test the time to make a root file system, where there is none yet."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package, unless it stands there from this very tree."""
    done = subprocess.run([ROOT / "scripts" / "build-deb"], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module", params=SUITES)
def machine(request: pytest.FixtureRequest, package: Path) -> Iterator[Machine]:
    """Boot a machine and install the package on it."""
    suite: Any = request.param
    with Machine(suite, package.parent) as booted:
        booted.sink()
        booted.install(package)
        yield booted


@pytest.fixture(scope="module", params=SUITES, ids=lambda suite: f"server-{suite}")
def server(request: pytest.FixtureRequest, package: Path) -> Iterator[Machine]:
    """Boot a mail server as Debian leaves it, with the package lying there."""
    suite: Any = request.param
    with Machine(suite, package.parent, "server") as booted:
        booted.sink()
        booted.become("mx.example.org", type_="smarthost", smarthost="192.0.2.2::2525", interfaces="")
        yield booted


@pytest.fixture(scope="module", params=("the same Debian", "the other Debian"), ids=("same", "other"))
def laptop(request: pytest.FixtureRequest, server: Machine, package: Path) -> Iterator[Machine]:
    """Boot a laptop with the server's Debian, then one with the other, with a cable to the server."""
    others = {"bookworm": "trixie", "trixie": "bookworm"}
    suite = server.suite if request.param == "the same Debian" else others[server.suite]
    with Machine(suite, package.parent, "laptop") as booted:
        booted.become("laptop.alice.example")
        booted.sh("echo '198.51.100.1 mx.example.org' >>/etc/hosts; useradd --create-home alice")
        server.connect(booted, "198.51.100.1/24", "198.51.100.2/24")
        yield booted


@pytest.fixture(scope="module")
def relay(machine: Machine) -> Machine:
    """Set its Exim up as documented, with three people: alice may look, bob may approve, nobody may not."""
    machine.rely_on("unsplit")
    machine.sh("groupadd postmasters; useradd -G eximcertd alice; useradd -G postmasters bob")
    machine.write("/etc/eximcertd/eximcertd.toml", CONFIGURATION)
    machine.run("systemctl", "restart", "eximcertd")
    return machine
