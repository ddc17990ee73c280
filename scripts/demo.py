"""Plays both recipes, the pinned one first, with real Exims on loopback; started by scripts/demo."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from lab.client import EximClient
from lab.daemon import Eximcertd, program
from lab.demo import Demo, NotSeenError, play, within
from lab.exim import EXIM, MACRO, EximServer

from eximcertd.cli.setup import clauses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack

    from lab.screen import Screen

NAME: Final = "laptop.alice.example"
MESSAGE: Final = """\
From: Alice <alice@laptop.alice.example>
To: Bob <bob@remote.example>
Subject: Hello from my laptop

Does this go through?
"""
SEND: Final = "client-exim -f alice bob@remote.example < hello.eml"
LAST: Final = "grep bob@remote.example client/log/mainlog | tail -n 1"


class RecipeDemo(Demo):
    """A server, a client and eximcertd in a directory, and what they do.

    numbers: of the steps.
    """

    def __init__(
        self, directory: Path, recipe: clauses.Recipe, screen: Screen, stack: ExitStack, numbers: Iterator[int]
    ) -> None:
        super().__init__(directory, screen, stack)
        self.recipe: Final = recipe
        self._numbers = numbers

    def expect(self, what: str, good: Any, took: float | None = None) -> None:
        """Show that ``what`` was seen, or raise NotSeenError."""
        if not good:
            raise NotSeenError(f"this was not seen: {what}")
        self.screen.seen(what, took)

    def send(self, command: str, outcome: str) -> str:
        """Send the message, wait for the client's log to tell its outcome, and show that line."""
        before = len(self.client.outcomes("bob@remote.example"))
        self.run(command)
        what = f'the client Exim tells of "{outcome}"'
        within(lambda: any(outcome in line for line in self.client.outcomes("bob@remote.example")[before:]), what)
        return self.run(LAST)

    def step(self, heading: str, text: str = "") -> None:
        """Begin the next numbered step."""
        self.screen.step(f"{next(self._numbers)}. {heading}", text)

    def set_up(self) -> None:
        """Make two certificates, two Exims and eximcertd, and start what is a daemon."""
        screen, here = self.screen, self.directory
        here.mkdir()
        pinned = self.recipe == "pinned"
        screen.step(
            f"The {self.recipe} recipe: a laptop and a mail server",
            "Both have a self-signed certificate. "
            + (
                "The server has no file of the laptop's: the fingerprint decides, and Exim logs the certificate."
                if pinned
                else "The laptop's lies in the server's directory of certificates, so that Exim can verify it."
            ),
        )
        screen.command(f"cd {here}")
        (here / "hello.eml").write_text(MESSAGE)
        tests = Path(__file__).resolve().parent.parent / "tests"
        self.script("make-certificates", f"PYTHONPATH={tests} exec {sys.executable} -m lab.certificates")
        self.script("client-exim", f"exec {EXIM} -C {here}/client/exim.conf")
        self.script("eximcertctl", f"exec {program('eximcertctl')} --config {here}/eximcertd/eximcertd.toml")
        self.run(f"make-certificates client {NAME}")
        (here / "server").mkdir()
        self.server = _server(here / "server", self.recipe)
        if not pinned:
            self.run(f"cp client/{NAME}.pem server/certs/")
        self.client = EximClient(here / "client", self.server, NAME)

        self.run("cat server/etc/relay_from_certs; sed -n '/^acl_check_rcpt:/,/^$/p' server/etc/exim.conf")
        screen.command("exim4 -C server/etc/exim.conf -bdf &")
        self.stack.enter_context(self.server)
        self.expect("the server Exim listens on loopback", self.server.alive())
        if pinned:
            screen.step("The laptop: its certificate, and the only server that it trusts")
            self.run("grep -A7 ^remote_smtp: client/exim.conf")
        screen.step("eximcertd: follows the server's log, and keeps attempts and decisions")
        self.daemon = Eximcertd(self.server, directory=here / "eximcertd")
        screen.command("eximcertd --config eximcertd/eximcertd.toml &")
        self.stack.enter_context(self.daemon)
        self.expect("eximcertd answers", self.daemon.answers())

    def refused(self) -> str:
        """Send a message that is refused, and find the laptop in the pending list; return its fingerprint."""
        self.step("The laptop sends a message. Its certificate is not approved.")
        line = self.send(SEND, " 550 ")
        self.expect("the server refused the message with 550", "relay not permitted" in line)
        found = within(lambda: self.daemon.entries("pending"), "the attempt is in the pending list")
        self.step("eximcertd has seen the attempt and knows the certificate.")
        text = self.run("eximcertctl pending")
        fingerprint = next(iter(found))
        self.expect(f"eximcertctl pending names {NAME}", NAME in text)
        return str(fingerprint)

    def approved(self, digits: str) -> None:
        """Approve by the first digits, and see the same message arrive."""
        self.step(f"An approver approves it, by the first {len(digits)} digits of its fingerprint.")
        begun = time.monotonic()
        self.run(f'eximcertctl approve {digits} --note "Alice has a new laptop"')
        took = time.monotonic() - begun
        self.expect("approved, and Exim honours it", digits in self.server.macro_file.read_text(), took)
        self.run("cat server/etc/relay_from_certs")
        self.step("The same message again.")
        line = self.send(SEND, "250 OK")
        self.expect("the server relayed the message", " => bob@remote.example" in line and "CV=yes" in line)
        within(lambda: "Does this go through?" in self.server.delivered(), "the message has arrived")
        self.run("grep -A9 '^Subject' server/mail/box")
        self.expect("the message arrived", "Hello from my laptop" in self.server.delivered())

    def revoked(self, digits: str) -> None:
        """Revoke, and see the same message refused again."""
        self.step("The laptop is lost: revoke its certificate.")
        begun = time.monotonic()
        self.run(f'eximcertctl revoke {digits} --note "left on a train"')
        took = time.monotonic() - begun
        self.expect("revoked, and Exim honours it", digits not in self.server.macro_file.read_text(), took)
        self.step("The same message once more.")
        line = self.send(SEND, " 550 ")
        self.expect("the server refused the message again", "relay not permitted" in line)
        self.run(f"eximcertctl history {digits}")

    def impostor(self) -> None:
        """Send the message towards a server of the same name with another certificate."""
        self.step(
            "In the other direction: an impostor in the server's place.",
            "Another Exim, with the server's name in its certificate but another key.",
        )
        home = self.directory / "impostor"
        with EximServer(directory=home) as impostor:
            self.screen.command("exim4 -C impostor/etc/exim.conf -bdf &")
            line = self.send(SEND.replace(" -f", f" -DSERVER_PORT={impostor.port} -f"), "certificate verification")
            self.expect(
                "the laptop refused the impostor, and keeps its message",
                " == bob@remote.example" in line and not impostor.delivered(),
            )
            self.run("client-exim -bp")


def _server(home: Path, recipe: clauses.Recipe) -> EximServer:
    """Return a server that has what the packaged example for a hand-written configuration has."""
    names = clauses.SiteNames(recipe, MACRO, home / "etc/relay_from_certs", home / "certs")
    _include, options, statements, acls = clauses.by_hand(names)
    deny = "  deny    message       = relay not permitted\n"
    return EximServer(directory=home, main=options, acl=f"{statements}\n{deny}\n{acls}")


def _stay(directory: Path) -> None:
    text = f"""
It stays up until you press Ctrl-C. In another terminal, as root:

  cd {directory}; PATH=$PWD/bin:$PATH
  {SEND}
  eximcertctl pending
"""
    print(text, flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("\nStopping all of it.")


def _play(directory: Path, screen: Screen, stack: ExitStack) -> None:
    numbers = count(1)
    pinned, published = (
        RecipeDemo(directory / recipe, recipe, screen, stack, numbers) for recipe in get_args(clauses.Recipe)
    )
    pinned.set_up()
    digits = pinned.refused()[:16]
    pinned.approved(digits)
    pinned.revoked(digits)
    pinned.impostor()
    published.set_up()
    published.approved(published.refused()[:8])


def main(arguments: Sequence[str]) -> int:
    """Play the demo; 0 only if everything was seen."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Both recipes, on loopback.")
    parser.add_argument("--stay", action="store_true", help="leave it up to play with, until Ctrl-C")
    asked = parser.parse_args(arguments)
    return play(_play, _stay if asked.stay else None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
