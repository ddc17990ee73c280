"""Relays of a fleet: a real Exim, eximcertd and eximcertd-fleet each, on a host with a network of its own.

    with Relays(home=tmp_path) as relays:                  # mx1, mx2, mx3; the acts lie on mx1, as files
        mx1, mx2, mx3 = relays
        relays.ctl(mx1, "approve", digits)
        until(lambda: mx3.relays(alice), "it relays there")

The files' transport is the one of docs/fleet.md: each relay fetches the acts from mx1, and mx1 what the relays report,
by rsync over ssh, with a key that may read this and nothing else. mx1 does that each second, and not each minute.
"""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from lab.daemon import Eximcertd, program
from lab.exim import EximServer
from lab.home import Home
from lab.network import Network
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None, limit: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run eximcertctl on this host."""
        command = [*self.host.enter, program("eximcertctl"), "--config", str(self.daemon.config), *arguments]
        env = {**self.daemon.environment, **(environment or {})}
        return subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, env=env)


class Relays:
    """Three relays, and the acts on mx1. people: who has an SSH key and may decide. others: more hosts."""

    def __init__(
        self,
        base: Path,
        trusted: Sequence[Identity],
        *,
        people: Sequence[str] = ("alice", "bob"),
        form: str = "list",
        environments: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.base: Final = base
        self._trusted = trusted
        self._form = form
        self._environments = environments or {}
        self._stack = ExitStack()
        self.home: Final = Home(base, people)
        self.all: Final[dict[str, Mx]] = {}

    def __enter__(self) -> Self:
        try:
            self.network = self._stack.enter_context(Network(*NAMES))
            self._ssh()
            for name in NAMES:
                mx = Mx(
                    self.network[name],
                    {
                        "directory": str(self.directory(name)),
                        "signers": str(self.home.signers),
                        "pull": [str(self.base / name / "pull")] if name != NAMES[0] else None,
                    },
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

    def directory(self, name: str) -> Path:
        """Return a relay's directory of the fleet; mx1's is the source."""
        return self.home.directory if name == NAMES[0] else self.base / name / "fleet"

    def ctl(self, mx: Mx, *arguments: str, who: str = "alice", limit: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run eximcertctl on a relay's host, with a person's key. The acts are mx1's, wherever the person sits."""
        return mx.ctl("--key", self.home.key(who), *arguments, limit=limit)

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
            (own / "authorized_keys").write_text(f'restrict,command="/usr/bin/rrsync -ro {served}" {public}')
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
