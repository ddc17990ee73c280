"""Plays both recipes, the pinned one first, with real Exims on loopback; started by scripts/demo."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args

from lab.client import EximClient
from lab.daemon import Eximcertd, program
from lab.exim import EXIM, MACRO, EximServer
from lab.screen import Screen
from lab.wait import until

from eximcertd.cli.setup import clauses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAME: Final = "laptop.alice.example"
MESSAGE: Final = """\
From: Alice <alice@laptop.alice.example>
To: Bob <bob@remote.example>
Subject: Hello from my laptop

Does this go through?
"""
SEND: Final = "client-exim -f alice bob@remote.example < hello.eml"
LAST: Final = "grep bob@remote.example client/log/mainlog | tail -n 1"


class NotSeenError(Exception):
    """Something that the demo is to show did not happen; the message says what."""


class Demo:
    """A directory with a server, a client and eximcertd, and the commands that work on them.

    numbers: of the steps.
    """

    def __init__(
        self, directory: Path, recipe: clauses.Recipe, screen: Screen, stack: ExitStack, numbers: Iterator[int]
    ) -> None:
        self.directory = directory
        self.recipe: Final = recipe
        self.screen = screen
        self._stack = stack
        self._numbers = numbers
        self._environment = {**os.environ, "PATH": f"{directory}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

    def run(self, command: str) -> str:
        """Show a command, run it in the demo's directory, show what it prints and return that."""
        self.screen.command(command)
        text = self.quietly(command)
        self.screen.said(text)
        return text

    def quietly(self, command: str) -> str:
        """Run a command and return what it prints; raises NotSeenError if it fails."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise NotSeenError(f"the command failed, with status {done.returncode}: {command}\n{done.stdout}")
        return done.stdout

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
        _within(lambda: any(outcome in line for line in self.client.outcomes("bob@remote.example")[before:]), what)
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
        commands = here / "bin"
        commands.mkdir()
        tests = Path(__file__).resolve().parent.parent / "tests"
        _script(commands / "make-certificates", f"PYTHONPATH={tests} exec {sys.executable} -m lab.certificates")
        _script(commands / "client-exim", f"exec {EXIM} -C {here}/client/exim.conf")
        _script(commands / "eximcertctl", f"exec {program('eximcertctl')} --config {here}/eximcertd/eximcertd.toml")
        self.run(f"make-certificates client {NAME}")
        (here / "server").mkdir()
        self.server = _server(here / "server", self.recipe)
        if not pinned:
            self.run(f"cp client/{NAME}.pem server/certs/")
        self.client = EximClient(here / "client", self.server, NAME)

        self.run("cat server/etc/relay_from_certs; sed -n '/^acl_check_rcpt:/,/^$/p' server/etc/exim.conf")
        screen.command("exim4 -C server/etc/exim.conf -bdf &")
        self._stack.enter_context(self.server)
        self.expect("the server Exim listens on loopback", self.server.alive())
        if pinned:
            screen.step("The laptop: its certificate, and the only server that it trusts")
            self.run("grep -A7 ^remote_smtp: client/exim.conf")
        screen.step("eximcertd: follows the server's log, and keeps attempts and decisions")
        self.daemon = Eximcertd(self.server, directory=here / "eximcertd")
        screen.command("eximcertd --config eximcertd/eximcertd.toml &")
        self._stack.enter_context(self.daemon)
        self.expect("eximcertd answers", self.daemon.answers())

    def refused(self) -> str:
        """Send a message that is refused, and find the laptop in the pending list; return its fingerprint."""
        self.step("The laptop sends a message. Its certificate is not approved.")
        line = self.send(SEND, " 550 ")
        self.expect("the server refused the message with 550", "relay not permitted" in line)
        found = _within(lambda: self.daemon.entries("pending"), "the attempt is in the pending list")
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
        _within(lambda: "Does this go through?" in self.server.delivered(), "the message has arrived")
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


def _close(screen: Screen, began: float) -> None:
    """Print the summary, one screen."""
    screen.step("What was seen")
    for line in screen.summary:
        print(f"  {line}")
    print(f"\nAll of it with real Exims, in {time.monotonic() - began:.1f} s.", flush=True)


def _within(condition: Callable[[], Any], what: str) -> Any:
    try:
        return until(condition, what, limit=20)
    except AssertionError as error:
        raise NotSeenError(str(error)) from None


def _script(path: Path, command: str) -> None:
    path.write_text(f'#!/bin/sh\n{command} "$@"\n')
    path.chmod(0o755)


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


def _left_running(directory: Path) -> list[str]:
    """Return the process ids that still name the demo's directory, once deliveries had time to end."""

    def look() -> list[str]:
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # a process may end between the two looks
                if str(directory).encode() in entry.read_bytes():
                    found.append(entry.parent.name)
        return found

    with suppress(AssertionError):
        until(lambda: not look(), "nothing of the demo runs", limit=5)
    return look()


def _terminate(_number: int, _frame: object) -> NoReturn:
    sys.exit(1)


def main(arguments: Sequence[str]) -> int:
    """Play the demo; 0 only if everything was seen."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Both recipes, on loopback.")
    parser.add_argument("--stay", action="store_true", help="leave it up to play with, until Ctrl-C")
    asked = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="eximcertd-demo-"))
    directory.chmod(0o755)
    screen = Screen()
    try:
        with ExitStack() as stack:
            numbers = count(1)
            pinned, published = (
                Demo(directory / recipe, recipe, screen, stack, numbers) for recipe in get_args(clauses.Recipe)
            )
            try:
                pinned.set_up()
                digits = pinned.refused()[:16]
                pinned.approved(digits)
                pinned.revoked(digits)
                pinned.impostor()
                published.set_up()
                published.approved(published.refused()[:8])
            except (NotSeenError, AssertionError) as error:
                print(f"\nThe demo ends here: {error}\n", file=sys.stderr)
                for log in sorted(directory.glob("*/*/log/*log")) + sorted(directory.glob("*/*/output")):
                    print(f"--- {log.relative_to(directory)}\n{log.read_text()[-2000:]}", file=sys.stderr)
                return 1
            _close(screen, began)
            if asked.stay:
                _stay(pinned.directory)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    finally:
        left = _left_running(directory)
        shutil.rmtree(directory, ignore_errors=True)
    if left:
        print(f"Still running, and that is a fault of this demo: {' '.join(left)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
