"""A real eximcertd beside an EximServer: its configuration file, its process, its socket and eximcertctl.

with EximServer(trusted=[alice]) as exim, Eximcertd(exim) as daemon:
    ask(exim.port, alice)
    until(lambda: daemon.entries("pending"), "the attempt is pending")
    assert daemon.ctl("approve", alice.fingerprint[:8]).returncode == 0
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from lab.configured import Configured
from lab.exim import EXIM
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.exim import EximServer
    from lab.network import Host

GREETING: Final = b'{"method":"org.varlink.service.GetInfo"}\0'


def program(name: str) -> str:
    """Return the path of an installed program of ours: beside the interpreter, else the one on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise AssertionError(f"{name} is not installed beside {sys.executable} nor on PATH")
    return found


class Eximcertd(Configured):
    """eximcertd as a real process for an Exim of the lab, with the two other programs as commands.

    settings: more configuration or other values, {"allowlist": {"form": "directory"}}; a value None leaves a
    key out. environment: more variables for the processes. directory: where its files lie, by default
    in the Exim's, with which they go. host: where it runs, if it has a network of its own.
    """

    def __init__(
        self,
        exim: EximServer,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        host: Host | None = None,
    ) -> None:
        self.exim = exim
        self.enter = host.enter if host else []
        directory = directory or exim.directory / "eximcertd"
        self.state = directory / "state"
        self.socket = directory / "control"
        self.output = directory / "output"
        self.environment = {**os.environ, **(environment or {})}
        self.environment.pop("NOTIFY_SOCKET", None)
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        super().__init__(
            directory,
            {
                "log": {"path": str(exim.log)},
                "certificates": {"directory": str(exim.certificates)},
                "allowlist": {"file": str(exim.macro_file), "form": "list"},
                "exim": {"binary": str(EXIM), "config": str(exim.configuration), "pid_file": str(exim.pid_file)},
                "state": {"directory": str(self.state)},
                "control": {"socket": str(self.socket), "readers": [], "approvers": []},
                "publish": {
                    "via": f"command:{program('eximcertd-publish')}",
                    "reload_via": f"command:{program('eximcertd-reload')}",
                    "min_interval": "0s",
                    "max_shrink": 100,
                },
            },
            settings,
        )
        self.state.mkdir(exist_ok=True)
        self.state.chmod(0o755)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it; its directory goes with the Exim's."""
        if self.alive():
            self.stop()

    @property
    def pid(self) -> int:
        """The process id of the running daemon."""
        if self._process is None:
            raise AssertionError("this eximcertd was never started")
        return self._process.pid

    def start(self, *, limit: float = 20.0) -> None:
        """Start it and return once its socket answers. Raises AssertionError with its own words if it ends."""
        self.spawn()
        until(lambda: self._ended.is_set() or self.answers(), "eximcertd answers", limit=limit)
        if self._ended.is_set():
            raise AssertionError(f"eximcertd ended with {self.returncode}:\n{self.words()}")

    def spawn(self) -> None:
        """Start it and return at once."""
        self._ended = threading.Event()
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*self.enter, program("eximcertd"), "--config", self.config],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
            )
        threading.Thread(target=_reap, args=(self._process, self._ended), daemon=True).start()

    def answers(self) -> bool:
        """Tell whether the control socket answers."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2)
            try:
                probe.connect(str(self.socket))
                probe.sendall(GREETING)
                return bool(probe.recv(1))
            except OSError:
                return False

    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process is not None and not self._ended.is_set()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode if self._process is not None and self._ended.is_set() else None

    def wait(self, *, limit: float = 10.0) -> int:
        """Wait for it to end by itself and return its exit status."""
        if not self._ended.wait(limit):
            raise AssertionError(f"eximcertd still runs after {limit:g} s:\n{self.words()}")
        return self._process.returncode if self._process is not None else -1

    def stop(self, *, limit: float = 10.0) -> int:
        """Send SIGTERM, wait, and return the exit status. Raises AssertionError if it does not end."""
        os.kill(self.pid, signal.SIGTERM)
        if not self._ended.wait(limit):
            self.kill()
            raise AssertionError(f"eximcertd did not end within {limit:g} s of SIGTERM:\n{self.words()}")
        return self.wait()

    def kill(self) -> None:
        """Send SIGKILL and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self._ended.wait(10)

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    def ctl(self, *arguments: str, given: str = "", limit: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run the real eximcertctl with this daemon's configuration; ``given`` is its standard input."""
        return subprocess.run(
            [program("eximcertctl"), "--config", str(self.config), *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            env=self.environment,
        )

    def json(self, *arguments: str) -> Any:
        """Run eximcertctl with ``--json``, which must succeed, and return what it printed."""
        done = self.ctl(*arguments, "--json")
        if done.returncode != 0:
            raise AssertionError(f"eximcertctl {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    def entries(self, verb: str = "list") -> dict[str, Any]:
        """Return the listing of ``pending`` or ``list`` as fingerprint -> entry."""
        return {entry["fingerprint"]: entry for entry in self.json(verb)}

    def status(self) -> Any:
        """Return the object that ``status --json`` prints."""
        return self.json("status")

    def words(self) -> str:
        """Return what it wrote to standard output and standard error."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""


def _reap(process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    process.wait()
    ended.set()
