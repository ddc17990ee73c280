"""The commands and files by which docs/fleet.md sets up a fleet on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.daemon import program
from lab.fleet import next_act
from lab.fleet_page import POSTGRES, blocks, commands
from lab.postgres import BIN, USER, Cluster

from eximcertd.config import FleetSettings
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.postgres import PostgresDesk, PostgresRelaySide
from eximcertd.fleet.remote import ActRefusedError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

A = Fingerprint("A" * 64)
ETC = "/etc/eximcertd/fleet"
MX1 = "mx1.example.org"
OTHERS = ("alice", "mx2.example.org", "mx3.example.org")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """Make certificates and database as the page does. The files have another directory than there."""
    there = tmp_path_factory.mktemp("page")
    (openssl,) = blocks(POSTGRES, "sh")
    subprocess.run(["/bin/sh", "-ec", openssl], cwd=there, check=True, capture_output=True, timeout=60)
    with Cluster(empty=True) as cluster:
        configuration, hba, _ = blocks(POSTGRES, "")
        server = cluster.data / "page"
        shutil.copytree(there, server)
        for file in (server, *server.iterdir()):
            shutil.chown(file, USER, USER)
        text = configuration.replace("/etc/postgresql/fleet", str(server)).replace("'*'", "'127.0.0.1'")
        with (cluster.data / "postgresql.conf").open("a") as settings:
            settings.write(text)
        local = "local all postgres peer map=root\n"
        (cluster.data / "pg_hba.conf").write_text(local + hba.replace("192.0.2.0/24", "127.0.0.1/32"))
        cluster.stop()
        cluster.start()
        (screen,) = blocks(POSTGRES, "console")
        psql = f"{BIN}/psql -X -q -h {cluster.directory} -p {cluster.port} -U {USER}"
        environment = {**os.environ, "PATH": f"{Path(program('eximcertctl')).parent}:{os.environ['PATH']}"}
        for _, command in commands(screen):
            line = command.replace("sudo -u postgres psql", psql)
            subprocess.run(["/bin/sh", "-ec", line], env=environment, check=True, timeout=60)
        yield cluster, there


@pytest.fixture
def relay(made: tuple[Cluster, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetSettings:
    """Return [fleet] of the page's relay. The service file has its section, and one for each of the others."""
    cluster, there = made
    _, _, service = blocks(POSTGRES, "")
    (toml,) = blocks(POSTGRES, "toml")
    here = service.replace(ETC, str(there)) + f"hostaddr=127.0.0.1\nport={cluster.port}\n"
    settings = here.partition("]")[2]
    others = [f"[{name}]{settings.replace(MX1, name)}" for name in OTHERS]
    false = f"[mallory]{settings.replace(f'user={MX1}', 'user=alice')}"
    (tmp_path / "pg_service.conf").write_text("\n".join([here, *others, false]))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "pg_service.conf"))
    return FleetSettings(**tomllib.loads(toml)["fleet"])


def test_a_person_decides_and_each_relay_has_it(relay: FleetSettings) -> None:
    with closing(PostgresDesk(FleetSettings("any", service="alice"))) as desk:
        desk.decide(next_act(desk.head(), "approve", A))
    for settings in (relay, *(FleetSettings(name, service=name) for name in OTHERS[1:])):
        with closing(PostgresRelaySide(settings)) as side:
            assert [act.fingerprints for act in side.acts(0, 10)] == [(A,)]


def test_a_relay_cannot_decide_and_a_certificate_is_good_for_its_own_role(relay: FleetSettings) -> None:
    with closing(PostgresDesk(relay)) as desk, pytest.raises(ActRefusedError, match="may read the fleet, not decide"):
        desk.who()
    with pytest.raises(RemoteError, match="certificate authentication failed"):
        PostgresDesk(FleetSettings("any", service="mallory"))
