"""A private PostgreSQL cluster with the fleet's database, TLS and client certificates, in a directory below /tmp.

    with Cluster() as cluster:
        cluster.add_relay("mx1"); cluster.add_approver("alice")
        desk = PostgresDesk(cluster.settings("alice"))  # or FleetDatabase(cluster).desk()

The newest PostgreSQL of this machine is taken; "scripts/test fleet" lays Debian 13's over Debian 12's files.

PostgreSQL does not run as root, so the cluster belongs to the user postgres (Debian's package makes it). pg_hba.conf
accepts over TLS only a client whose certificate has the role's name as its CN. The superuser comes by the Unix socket
as the operating system's user postgres or root. fsync is off: what is lost by a power cut is not tested.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg

from eximcertd.acts.act import parse
from eximcertd.config import FleetSettings
from eximcertd.fleet import statements
from lab.certificates import Identity, make, make_ca
from lab.merging import newest_of
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.network import Host
USER: Final = "postgres"
BIN: Final = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql/15/bin"))

_HBA: Final = """\
local all postgres peer map=root
local replication postgres peer map=root
hostssl fleet +fleet_relay 127.0.0.1/32 cert
hostssl fleet +fleet_reader 127.0.0.1/32 cert
hostssl fleet +fleet_relay 10.99.0.0/24 cert
hostssl fleet +fleet_reader 10.99.0.0/24 cert
"""
_IDENT: Final = "root postgres postgres\nroot root postgres\n"
_SERVICES: Final = threading.Lock()


class Cluster:
    """A running cluster, for the length of a ``with`` block.

    of: another cluster; this one is a streaming standby of it. host: the host of a Network that it runs on. empty:
    without the fleet's database.
    """

    def __init__(
        self, *, of: Cluster | None = None, host: Host | None = None, connections: int = 100, empty: bool = False
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fleet-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.data = self.directory / "data"
        self.port = _free_port()
        self._of = of
        self._connections = connections
        self._empty = empty
        self._prefix = host.enter if host else []
        self.address = host.address if host else "127.0.0.1"
        self._people: dict[str, Identity] = of._people if of else {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._make()
            self.start()
            if self._of is None and not self._empty:
                self.psql(statements.init())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _make(self) -> None:
        _own(self.directory)
        if self._of is None:
            self.authority = make_ca(self.directory, "Fleet CA")
            self.server = make(self.directory, "localhost", issuer=self.authority)
            _run(BIN / "initdb", "-D", self.data, "-A", "peer", "-U", USER, "--no-sync", "-E", "UTF8", "--locale", "C")
        else:
            self.authority, self.server = self._of.authority, self._of.server
            self._of.run("pg_basebackup", "-D", str(self.data), "-R", "-c", "fast", "--no-sync")
        for file, source in ("server.crt", self.server.certificate), ("server.key", self.server.key):
            shutil.copyfile(source, self.data / file)
            _own(self.data / file, 0o600)
        (self.data / "pg_hba.conf").write_text(_HBA)
        (self.data / "pg_ident.conf").write_text(_IDENT)
        shutil.copyfile(self.authority.certificate, self.data / "ca.crt")
        settings = {
            "port": self.port,
            "listen_addresses": f"127.0.0.1,{self.address}",
            "unix_socket_directories": self.directory,
            "ssl": "on",
            "ssl_cert_file": "server.crt",
            "ssl_key_file": "server.key",
            "ssl_ca_file": "ca.crt",
            "fsync": "off",
            "shared_buffers": "32MB",
            "max_connections": self._connections,
            "tcp_keepalives_idle": 5,
            "tcp_user_timeout": 20000,
        }
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        for path in self.data.glob("*"):
            if path.owner() != USER:
                _own(path, path.stat().st_mode & 0o777)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = (self.directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [*self._prefix, "setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups",
                 BIN / "postgres", "-D", self.data],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
            )  # fmt: skip
        until(self._answers, f"the cluster answers; its log is {self.directory}/log", limit=60)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()
        command: list[str | Path] = [BIN / "pg_isready", "-q", "-h", self.directory, "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server; SIGQUIT: as a power cut does."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def processes(self) -> list[int]:
        """Return the process ids of the server and its backends."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [self._process.pid, *map(int, children.split())]

    @property
    def running(self) -> bool:
        """Tell whether the server has been started and not stopped."""
        return self._process is not None

    def promote(self) -> None:
        """Make a standby a primary."""
        _run(BIN / "pg_ctl", "promote", "-w", "-D", self.data)

    def superuser(self, database: str = "fleet") -> psycopg.Connection[Any]:
        """Connect as the superuser."""
        return psycopg.connect(host=str(self.directory), port=self.port, user=USER, dbname=database, autocommit=True)

    def psql(self, script: str) -> str:
        """Run a script as the database's administrator does, and return what psql printed."""
        command: list[str | Path] = [
            BIN / "psql",
            "-X",
            "-q",
            "-h",
            self.directory,
            "-p",
            str(self.port),
            "-U",
            USER,
            "postgres",
        ]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the superuser, in the cluster's directory."""
        _run(
            BIN / program, "-h", self.directory, "-p", str(self.port), "-U", USER, *arguments, directory=self.directory
        )

    def add_relay(self, name: str) -> Identity:
        """Let a relay in, and make its certificate."""
        self.psql(statements.add_relay(name))
        return self.certificate(name)

    def add_approver(self, name: str) -> Identity:
        """Let a person in who decides."""
        self.psql(statements.add_person(name, decides=True))
        return self.certificate(name)

    def add_reader(self, name: str) -> Identity:
        """Let a person in who reads only."""
        self.psql(statements.add_person(name, decides=False))
        return self.certificate(name)

    def certificate(self, name: str) -> Identity:
        """Return the client certificate with this CN, which the cluster's CA has issued."""
        if name not in self._people:
            self._people[name] = make(self.directory, name, issuer=self.authority)
        return self._people[name]

    def service(self, name: str, **changed: Any) -> str:
        """Write a service file for a role, and return its service's name; an empty value leaves the key out."""
        identity = self.certificate(name)
        keys: Mapping[str, object] = {
            "host": "localhost",
            "hostaddr": self.address,
            "port": self.port,
            "dbname": "fleet",
            "user": name,
            "sslrootcert": self.authority.certificate,
            "sslcert": identity.certificate,
            "sslkey": identity.key,
        }
        text = "".join(f"{key}={value}\n" for key, value in {**keys, **changed}.items() if value != "")
        section = f"fleet-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        with _SERVICES:
            file = _service_file()
            before = file.read_text() if file.exists() else ""
            if section not in before:
                _replaced(file, f"{before}[{section}]\n{text}\n")
        return section

    def settings(self, name: str, *, hint: bool = True, **changed: Any) -> FleetSettings:
        """Return the configuration of a relay or a person."""
        return FleetSettings(relay=name, service=self.service(name, **changed), hint=hint)

    def back_to(self, generation: int) -> None:
        """Lose the acts after a generation, as a restored backup does."""
        with self.superuser() as connection, connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            for table in ("act", "settled"):
                connection.execute(f"DELETE FROM fleet.{table} WHERE generation > %s", [generation])  # noqa: S608 - constants
            connection.execute("DELETE FROM fleet.standing")
            texts = connection.execute("SELECT text FROM fleet.act ORDER BY generation").fetchall()
            acts = [parse(bytes(text)) for (text,) in texts]
            for name, newest in newest_of(acts).items():
                row = [bytes.fromhex(name), newest.status, newest.generation]
                connection.execute("INSERT INTO fleet.standing VALUES (%s, false, %s, %s)", row)
            head = (acts[-1].generation, acts[-1].hash()) if acts else (0, "0" * 64)
            connection.execute("UPDATE fleet.head SET generation = %s, hash = %s", head)

    def fresh(self) -> None:
        """Empty the fleet's tables; roles and relays stay."""
        with self.superuser() as connection:
            connection.execute(
                "SET session_replication_role = replica; TRUNCATE fleet.act, fleet.standing, fleet.settled, fleet.own,"
                " fleet.sighting; UPDATE fleet.head SET generation = 0, hash = repeat('0', 64); UPDATE fleet.relay SET"
                " quota = 10000, dropped = 0, seen_at = NULL; UPDATE fleet.version SET version = 1"
            )


@cache
def _service_file() -> Path:
    """Return libpq's service file for this process and its children; it lasts as long as this process."""
    directory = Path(tempfile.mkdtemp(prefix="services-", dir="/tmp"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)
    os.environ["PGSERVICEFILE"] = str(directory / "pg_service.conf")
    return directory / "pg_service.conf"


def _replaced(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.rename(file)


def _own(path: Path, mode: int = 0o755) -> None:
    user = pwd.getpwnam(USER)
    os.chown(path, user.pw_uid, user.pw_gid)
    path.chmod(mode)


def _run(*command: str | Path, directory: Path = Path("/")) -> None:
    as_postgres = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *command]
    done = subprocess.run(as_postgres, capture_output=True, text=True, check=False, cwd=directory)
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
