"""Plays a fleet of two relays with real Exims on loopback, over files: one queue, an outage and its end."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from lab.certificates import Identity, make
from lab.daemon import Eximcertd, program
from lab.exim import EximServer
from lab.home import Home
from lab.screen import Screen
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LIMIT: Final = 60.0


class NotSeenError(Exception):
    """Something that the demo is to show did not happen; the message says what."""


class FleetDemo:
    """Two relays in a directory, and the commands that work on them."""

    def __init__(self, directory: Path, screen: Screen, stack: ExitStack) -> None:
        self.directory = directory
        self.screen = screen
        self._environment = {**os.environ, "PATH": f"{directory}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
        self.laptops: list[Identity] = [make(directory, f"laptop.{name}.example") for name in ("alice", "bob")]
        self.home = Home(directory, ("alice",))
        (directory / "bin").mkdir()
        self.servers: dict[str, EximServer] = {}
        for name in ("mx1", "mx2"):
            self._relay(name, stack)

    def _relay(self, name: str, stack: ExitStack) -> None:
        """Start Exim, eximcertd and eximcertd-fleet of a relay. mx2 has a copy of the acts, which it fetches."""
        exim = stack.enter_context(EximServer(trusted=self.laptops, directory=self.directory / name))
        fleet = {"relay": name, "signers": str(self.home.signers), "poll": "1s", "report": "1s", "user": "root"}
        copy = self.directory / name / "fleet"
        if name == "mx1":
            fleet["directory"] = str(self.home.directory)
        else:
            (copy / "relays").mkdir(parents=True)
            fleet["directory"] = str(copy)
            fleet["pull"] = ["/bin/cp", "-rTu", f"{self.directory}/line/acts", f"{copy}/acts"]  # type: ignore[assignment]
            (self.home.directory / "acts").mkdir()
            (self.home.directory / "relays").mkdir(exist_ok=True)
            # What mx2 reports goes over the same line, each second.
            give = f"while sleep 1; do cp -u {copy}/relays/mx2.json {self.directory}/line/relays/ 2>/dev/null; done"
            self._beside(["/bin/sh", "-c", give], "give", stack)
            (self.directory / "line").symlink_to(self.home.directory)
        daemon = stack.enter_context(Eximcertd(exim, {"fleet": fleet}))
        self._beside([program("eximcertd-fleet"), "--config", str(daemon.config)], name, stack)
        script = self.directory / "bin" / f"{name}-eximcertctl"
        options = f"--config {daemon.config} --key {self.home.key('alice')}"
        script.write_text(f'#!/bin/sh\nexec {program("eximcertctl")} {options} "$@"\n')
        script.chmod(0o755)
        self.servers[name] = exim

    def _beside(self, command: list[str], name: str, stack: ExitStack) -> None:
        with (self.directory / f"{name}.output").open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        stack.callback(process.wait)
        stack.callback(process.terminate)

    def run(self, command: str, *, status: int = 0) -> str:
        """Show a command, run it, show what it prints and return that; raises NotSeenError for another status."""
        self.screen.command(command)
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        self.screen.said(done.stdout)
        if done.returncode != status:
            raise NotSeenError(f"{command}: exit status {done.returncode}, and not {status}")
        return done.stdout

    def sends(self, laptop: Identity, name: str, *, accepted: bool) -> None:
        """Have a laptop come to a relay, until it gets the answer that is to be shown."""
        self.screen.command(f"# {laptop.name} sends to {name}")
        port = self.servers[name].port
        what = f"{name} {'accepts' if accepted else 'refuses'} {laptop.name}"
        self._until(lambda: ask(port, laptop).accepted is accepted, what)
        answer = ask(port, laptop)
        self.screen.said(f"{answer.code} {answer.text}")
        self.screen.seen(f"{name} {'relays for' if accepted else 'refuses'} {laptop.name}")

    def _until(self, condition: Callable[[], T], what: str) -> T:
        try:
            return until(condition, what, limit=LIMIT)
        except AssertionError as error:
            raise NotSeenError(str(error)) from None

    def wait(self, command: str, text: str) -> None:
        """Wait until what a command prints has a text."""

        def there() -> bool:
            words = ["/bin/sh", "-c", command]
            done = subprocess.run(words, env=self._environment, capture_output=True, text=True, check=False)
            return text in done.stdout

        self._until(there, f"{command} shows {text}")

    def play(self) -> None:
        """Play it."""
        screen, (alice, bob) = self.screen, self.laptops
        screen.step("1. Two relays, one queue", "Both have their Exim, eximcertd and eximcertd-fleet.")
        screen.command(f"cd {self.directory}")
        for laptop, name in (alice, "mx1"), (bob, "mx2"):
            self.sends(laptop, name, accepted=False)
        for laptop in self.laptops:
            self.wait("mx1-eximcertctl fleet pending", laptop.fingerprint[:16])
        self.run("mx1-eximcertctl fleet pending")
        screen.seen("one queue has what both relays refused")
        screen.step("2. Approved once, relayed everywhere")
        self.run(f"mx1-eximcertctl approve {alice.fingerprint[:16]} --wait all")
        for name in self.servers:
            self.sends(alice, name, accepted=True)
        screen.step("3. The line between them is cut", "mx2 goes on with the list that it has.")
        self.run("rm line")
        self.run(f"mx1-eximcertctl approve {bob.fingerprint[:16]}")
        self.sends(bob, "mx1", accepted=True)
        self.sends(bob, "mx2", accepted=False)
        self.run(f"mx2-eximcertctl revoke {alice.fingerprint[:16]} --note 'stolen'", status=6)
        screen.seen("revoked on mx2 at once, and the fleet does not know it yet")
        self.sends(alice, "mx2", accepted=False)
        self.sends(alice, "mx1", accepted=True)
        screen.step("4. It is back", "What mx1 decided reaches mx2. What was revoked on mx2 stays so, and is open.")
        self.run("ln -s fleet line")
        self.sends(bob, "mx2", accepted=True)
        self.wait("mx1-eximcertctl fleet settle", "stolen")
        self.run("mx1-eximcertctl fleet")
        self.sends(alice, "mx2", accepted=False)
        screen.step("5. A person settles it")
        self.run("mx1-eximcertctl fleet settle --refused revoke")
        for name in self.servers:
            self.sends(alice, name, accepted=False)
        screen.seen("the revocation of one relay is the fleet's now")


def main() -> int:
    """Play the demo; 0 only if everything was seen."""
    argparse.ArgumentParser(prog="scripts/demo fleet", description="Two relays, one queue, an outage.").parse_args()
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="eximcertd-demo-"))
    directory.chmod(0o755)
    screen = Screen()
    try:
        with ExitStack() as stack:
            try:
                FleetDemo(directory, screen, stack).play()
            except (NotSeenError, AssertionError) as error:
                print(f"\nThe demo ends here: {error}\n", file=sys.stderr)
                for output in sorted(directory.glob("*.output")):
                    print(f"--- {output.name}\n{output.read_text()[-2000:]}", file=sys.stderr)
                return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    screen.step("What was seen")
    for line in screen.summary:
        print(f"  {line}")
    print(f"\nAll of it with real Exims, in {time.monotonic() - began:.1f} s.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
