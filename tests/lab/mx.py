"""A relay of a fleet: a real Exim, eximcertd and eximcertd-fleet, on a host with a network of its own."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from lab.daemon import Eximcertd, program
from lab.exim import EximServer
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lab.certificates import Identity
    from lab.network import Host


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


def away(mx: Mx) -> bool:
    """Tell whether eximcertd-fleet has said last that it does not reach the fleet."""
    return "eximcertd-fleet: away" in mx.output.read_text().splitlines()[-1]
