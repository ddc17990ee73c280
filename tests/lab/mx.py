"""Relays of a fleet: a real Exim, eximcertd and eximcertd-fleet each, on a host with a network of its own.

    with OverFiles(tmp_path, [alice]) as relays:           # mx1, mx2, mx3; the acts lie on mx1
        mx1, mx2, mx3 = relays
        relays.ctl(mx1, "approve", alice.fingerprint)
        until(lambda: mx3.relays(alice), "it relays there")

The files' transport is the one of docs/fleet.md: each relay fetches the acts from mx1, and mx1 what the relays report,
by rsync over ssh, with a key that may read this and nothing else. mx1 does that each second, and not each minute.
OnPostgres has a database on a fourth host.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from eximcertd.fleet.postgres import PostgresDesk
from lab.daemon import Eximcertd, program
from lab.exim import EximServer
from lab.fleet import next_act
from lab.home import Home
from lab.network import Network
from lab.postgres import Cluster
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.fleet.remote import Desk
    from lab.certificates import Identity
    from lab.network import Host

NAMES: Final = ("mx1", "mx2", "mx3")
_SSHD: Final = """\
ListenAddress {address}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
"""
_SSH: Final = (
    "ssh -F none -i {key} -o BatchMode=yes -o ConnectTimeout=2 -o ServerAliveInterval=2 -o ServerAliveCountMax=2"
    " -o UserKnownHostsFile={known} -o HostKeyAlias=fleet"
)
_SERVE: Final = "/usr/sbin/runuser -u root -- /usr/bin/rrsync -ro"
_FETCH: Final = '#!/bin/sh\nexec rsync -rt --delete --timeout=5 -e "{ssh}" {home}: {directory}/acts/\n'
_COLLECT: Final = """\
#!/bin/sh
while sleep 1; do
  for relay in {relays}; do
    rsync -t --timeout=5 --max-size=8M -e "{ssh}" ${{relay#*=}}:${{relay%=*}}.json {directory}/relays/ &
  done
  wait
done
"""


_AHEAD: Final = """\
import datetime, time
def ahead(clock, by):
    return lambda: clock() + by
time.time, time.time_ns = ahead(time.time, 3600), ahead(time.time_ns, 3600 * 10**9)
class Ahead(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
datetime.datetime = Ahead
"""


def an_hour_ahead(directory: Path) -> dict[str, str]:
    """Return the environment in which the clock of a Python program is an hour ahead."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(_AHEAD)
    return {"PYTHONPATH": str(directory)}


class Process:
    """A program of ours that runs beside the others, with what it prints in a file."""

    def __init__(self, command: Sequence[str | Path], output: Path, environment: Mapping[str, str]) -> None:
        with output.open("ab") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment
            )
        self.pid: Final = self._process.pid
        threading.Thread(target=self._process.wait, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


class Mx:
    """A relay: its host, its Exim, its eximcertd, its eximcertd-fleet. fleet: the values of [fleet]."""

    def __init__(
        self,
        host: Host,
        fleet: Mapping[str, Any],
        trusted: Sequence[Identity],
        *,
        form: str = "list",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name: Final = host.name
        self.host: Final = host
        self.exim: Final = EximServer(trusted=trusted, host=host)
        self.daemon: Final = Eximcertd(
            self.exim,
            {
                "allowlist": {"form": form},
                "fleet": {"relay": host.name, "poll": "1s", "report": "1s", "user": "root", **fleet},
            },
            host=host,
            environment=environment,
        )
        self.output: Final = self.exim.directory / "fleet-output"
        self._fleet: Process | None = None
        if (
            environment
        ):  # they compare the times of processes and files, which a wrong clock of one program does not move
            for key, name in ("via", "eximcertd-publish"), ("reload_via", "eximcertd-reload"):
                script = self.daemon.directory / name
                script.write_text(f'#!/bin/sh\nexec env -u PYTHONPATH {program(name)} "$@"\n')
                script.chmod(0o755)
                self.daemon.configure({"publish": {key: f"command:{script}"}})

    def __enter__(self) -> Self:
        try:
            self.exim.start()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of it."""
        self.stop()
        self.exim.__exit__()

    def start(self) -> None:
        """Start eximcertd and eximcertd-fleet."""
        self.daemon.start()
        self.connect()

    def stop(self) -> None:
        """Stop both; Exim goes on."""
        self.disconnect()
        if self.daemon.alive():
            self.daemon.stop()

    def connect(self) -> None:
        """Start eximcertd-fleet."""
        command = [*self.host.enter, program("eximcertd-fleet"), "--config", str(self.daemon.config)]
        self._fleet = Process(command, self.output, self.daemon.environment)

    def disconnect(self) -> None:
        """Stop eximcertd-fleet."""
        if self._fleet is not None:
            self._fleet.stop()
            self._fleet = None

    def relays(self, who: Identity) -> bool:
        """Tell whether a client that comes to this Exim may relay."""
        return self.host.inside(lambda: ask(self.exim.port, who)).accepted

    def refused(self, who: Identity) -> None:
        """Have a client refused, and wait until eximcertd has seen it."""
        assert self.host.inside(lambda: ask(self.exim.port, who)).refused
        until(lambda: who.fingerprint in self.daemon.entries("pending"), f"{who.fingerprint} is pending")

    def standing(self, who: Identity) -> str | None:
        """Return a client's status on this relay; None: it is not known."""
        entry = self.daemon.entries().get(who.fingerprint)
        return None if entry is None else str(entry["standing"])

    def ctl(
        self, *arguments: str, config: Path | None = None, limit: float = 180.0
    ) -> subprocess.CompletedProcess[str]:
        """Run eximcertctl on this host. config: another file than the daemon's."""
        command = [*self.host.enter, program("eximcertctl"), "--config", str(config or self.daemon.config), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=limit, check=False, env=self.daemon.environment
        )


class Relays:
    """Three relays. hosts: more hosts than theirs. environments: more variables for the programs of a relay."""

    hosts: tuple[str, ...] = ()

    def __init__(
        self,
        base: Path,
        trusted: Sequence[Identity],
        *,
        form: str = "list",
        environments: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.base: Final = base
        self._trusted = trusted
        self._form = form
        self._environments = environments or {}
        self._stack = ExitStack()
        self.all: Final[dict[str, Mx]] = {}
        self.clients: Final = iter(trusted)

    def __enter__(self) -> Self:
        try:
            self.network = self._stack.enter_context(Network(*NAMES, *self.hosts))
            self.prepare()
            for name in NAMES:
                mx = Mx(
                    self.network[name],
                    self.settings(name),
                    self._trusted,
                    form=self._form,
                    environment=self._environments.get(name),
                )
                self.all[name] = self._stack.enter_context(mx)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of it."""
        self._stack.close()

    def __iter__(self) -> Iterator[Mx]:
        return iter(self.all.values())

    def prepare(self) -> None:
        """Set up what the relays share."""
        raise NotImplementedError

    def settings(self, name: str) -> Mapping[str, Any]:
        """Return what a relay's [fleet] says of the transport."""
        raise NotImplementedError

    def desk(self) -> Desk:
        """Return alice's desk, in this process."""
        raise NotImplementedError

    def lose(self, generation: int) -> None:
        """Restore an older copy, which ends with this act."""
        raise NotImplementedError

    def signed(self, act: Act) -> Act:
        """Return an act as alice hands it over."""
        raise NotImplementedError

    def ctl(self, mx: Mx, *arguments: str, limit: float = 180.0) -> subprocess.CompletedProcess[str]:
        """Run eximcertctl on a relay's host, as alice."""
        raise NotImplementedError

    def act(self, verb: str, *fingerprints: str) -> None:
        """Have alice decide, without eximcertctl."""
        desk = self.desk()
        desk.decide(self.signed(next_act(desk.head(), verb, *fingerprints)))

    def json(self, mx: Mx, *arguments: str) -> Any:
        """Return what eximcertctl prints with --json."""
        done = self.ctl(mx, *arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def in_step(self) -> bool:
        """Tell whether every relay has, and honours, the newest act, and has reported so."""
        return all(one["lag"] == 0 and not one["problem"] for one in self.json(self.all[NAMES[0]], "fleet")["relays"])


class OnPostgres(Relays):
    """Relays on a database, which is on a host of its own."""

    hosts = ("db",)

    def prepare(self) -> None:
        """Start the database."""
        self.cluster = self._stack.enter_context(Cluster(host=self.network["db"]))
        for name in NAMES:
            self.cluster.add_relay(name)
        self.cluster.add_approver("alice")
        self._desk: PostgresDesk | None = None

    def settings(self, name: str) -> Mapping[str, Any]:
        """See Relays."""
        return {"service": self.cluster.service(name, **self.way(name))}

    def way(self, name: str) -> Mapping[str, Any]:  # noqa: ARG002 - for all the same
        """Return what the service of a role has other than the cluster's."""
        return {}

    def desk(self) -> Desk:
        """See Relays."""
        if self._desk is None:
            settings = self.cluster.settings("alice", **self.way("alice"))
            self._desk = self.network["db"].inside(lambda: PostgresDesk(settings))
            self._stack.callback(self._desk.close)
        return self._desk

    def signed(self, act: Act) -> Act:
        """See Relays."""
        return act

    def lose(self, generation: int) -> None:
        """See Relays."""
        self.cluster.back_to(generation)

    def ctl(self, mx: Mx, *arguments: str, limit: float = 180.0) -> subprocess.CompletedProcess[str]:
        """See Relays."""
        person = mx.daemon.config.with_name("person.toml")
        own, theirs = (self.cluster.service(name, **self.way(name)) for name in ("alice", mx.name))
        person.write_text(mx.daemon.config.read_text().replace(theirs, own))
        return mx.ctl(*arguments, config=person, limit=limit)


class OverFiles(Relays):
    """Relays that share a directory of mx1. people: who has an SSH key and may decide."""

    def prepare(self) -> None:
        """Let each host serve by ssh what the others may read."""
        self.home = Home(self.base, ("alice", "bob"))
        self._ssh()

    def settings(self, name: str) -> Mapping[str, Any]:
        """See Relays."""
        of = {"directory": str(self.directory(name)), "signers": str(self.home.signers)}
        return of if name == NAMES[0] else {**of, "pull": [str(self.base / name / "pull")]}

    def directory(self, name: str) -> Path:
        """Return a relay's directory of the fleet; mx1's is the source."""
        return self.home.directory if name == NAMES[0] else self.base / name / "fleet"

    def desk(self) -> Desk:
        """See Relays."""
        return self.home.desk()

    def signed(self, act: Act) -> Act:
        """See Relays."""
        return self.home.signed(act)

    def lose(self, generation: int) -> None:
        """See Relays."""
        for file in (self.home.directory / "acts").iterdir():
            if int(file.name.partition(".")[0]) > generation:
                file.unlink()

    def ctl(self, mx: Mx, *arguments: str, limit: float = 180.0) -> subprocess.CompletedProcess[str]:
        """See Relays."""
        return mx.ctl("--key", str(self.home.key("alice")), *arguments, limit=limit)

    def _ssh(self) -> None:
        """Let each host serve what the others may read."""
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        key = self.base / "transport"
        for path in (key, self.base / "host_key"):
            subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        known = self.base / "known_hosts"
        known.write_text(f"fleet {(self.base / 'host_key.pub').read_text()}")
        ssh = _SSH.format(key=key, known=known)
        addresses = {name: self.network[name].address for name in NAMES}
        for name in NAMES:
            directory, host = self.directory(name), self.network[name]
            own = self.base / name
            own.mkdir()
            for part in (directory, directory / "acts", directory / "relays"):
                part.mkdir(exist_ok=True)
                part.chmod(0o755)
            (own / "host_key").write_bytes((self.base / "host_key").read_bytes())
            (own / "host_key").chmod(0o600)
            served = directory / ("acts" if name == NAMES[0] else "relays")
            public = key.with_suffix(".pub").read_text()
            (own / "authorized_keys").write_text(f'restrict,command="{_SERVE} {served}" {public}')
            (own / "sshd").write_text(_SSHD.format(address=host.address, directory=own))
            daemon = Process(
                [*host.enter, "/usr/sbin/sshd", "-D", "-e", "-f", own / "sshd"], own / "sshd-output", os.environ
            )
            self._stack.callback(daemon.stop)
            others = " ".join(f"{one}={address}" for one, address in addresses.items() if one != NAMES[0])
            pull = own / "pull"
            if name == NAMES[0]:
                pull.write_text(_COLLECT.format(relays=others, ssh=ssh, directory=directory))
            else:
                pull.write_text(_FETCH.format(ssh=ssh, home=addresses[NAMES[0]], directory=directory))
            pull.chmod(0o755)
            if name == NAMES[0]:
                collecting = Process([*host.enter, pull], own / "pull-output", os.environ)
                self._stack.callback(collecting.stop)


def where(relays: Relays, who: Identity) -> list[str]:
    """Return the names of the relays at which a client may relay."""
    return [mx.name for mx in relays if mx.relays(who)]


def approve(relays: Relays, who: Identity, *options: str) -> None:
    """Approve a client on mx1, and wait for the Exims of all relays, or for those that options name."""
    done = relays.ctl(relays.all["mx1"], "approve", who.fingerprint, "--without-certificate", "--wait", "all", *options)
    assert done.returncode == 0, done.stdout + done.stderr


def away(mx: Mx) -> bool:
    """Tell whether eximcertd-fleet has said last that it does not reach the fleet."""
    return "eximcertd-fleet: away" in mx.output.read_text().splitlines()[-1]


def open_ones(relays: Relays, who: Identity) -> list[tuple[str, str]]:
    """Return the own decisions on a client that are open: relay and verb."""
    sets = relays.json(relays.all["mx1"], "fleet", "settle")
    found = [
        own
        for entries in sets.values()
        for one in entries
        if one["fingerprint"] == who.fingerprint
        for own in one["own"]
    ]
    return sorted((own["relay"], own["verb"]) for own in found)
