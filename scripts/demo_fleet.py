"""Plays a fleet of two relays with real Exims on loopback, over files: one queue, an outage and its end."""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING

from lab.certificates import Identity, make
from lab.daemon import Eximcertd, program
from lab.demo import Demo, play, within
from lab.exim import EximServer
from lab.home import Home
from lab.smtp import ask

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from lab.screen import Screen
    from lab.smtp import Answer


class FleetDemo(Demo):
    """Two relays in a directory, and the commands that work on them."""

    def __init__(self, directory: Path, screen: Screen, stack: ExitStack) -> None:
        super().__init__(directory, screen, stack)
        self.laptops: list[Identity] = [make(directory, f"laptop.{name}.example") for name in ("alice", "bob")]
        self.home = Home(directory, ("alice",))
        self.servers: dict[str, EximServer] = {}
        for name in ("mx1", "mx2"):
            self._relay(name)

    def _relay(self, name: str) -> None:
        """Start Exim, eximcertd and eximcertd-fleet of a relay. mx2 has a copy of the acts, which it fetches."""
        exim = self.stack.enter_context(EximServer(trusted=self.laptops, directory=self.directory / name))
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
            self._beside(["/bin/sh", "-c", give], "give")
            (self.directory / "line").symlink_to(self.home.directory)
        daemon = self.stack.enter_context(Eximcertd(exim, {"fleet": fleet}))
        self._beside([program("eximcertd-fleet"), "--config", str(daemon.config)], name)
        options = f"--config {daemon.config} --key {self.home.key('alice')}"
        self.script(f"{name}-eximcertctl", f"exec {program('eximcertctl')} {options}")
        self.servers[name] = exim

    def _beside(self, command: list[str], name: str) -> None:
        with (self.directory / f"{name}.output").open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)

    def sends(self, laptop: Identity, name: str, *, accepted: bool) -> None:
        """Have a laptop come to a relay, until it gets the answer that is to be shown."""
        self.screen.command(f"# {laptop.name} sends to {name}")

        def answered() -> list[Answer]:
            answer = ask(self.servers[name].port, laptop)
            return [answer] if (answer.accepted if accepted else answer.refused) else []

        (answer,) = within(answered, f"{name} {'accepts' if accepted else 'refuses'} {laptop.name}")
        self.screen.said(f"{answer.code} {answer.text}")
        self.screen.seen(f"{name} {'relays for' if accepted else 'refuses'} {laptop.name}")

    def wait(self, command: str, text: str) -> None:
        """Wait until what a command prints has a text."""
        within(lambda: text in self.quietly(command).stdout, f"{command} shows {text}")

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
    return play(lambda directory, screen, stack: FleetDemo(directory, screen, stack).play())


if __name__ == "__main__":
    sys.exit(main())
