"""eximcertd-fleet: the process that has the network. It keeps nothing and decides nothing; see sync.py."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from eximcertd import __version__
from eximcertd.config import DEFAULT_FILE, load
from eximcertd.control.client import Client
from eximcertd.errors import EximcertdError, Exit
from eximcertd.fleet.local import ControlSocket
from eximcertd.fleet.sync import Sync
from eximcertd.service_manager import Notifier
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.config import FleetSettings
    from eximcertd.fleet.remote import RelaySide

NO_FLEET: Final = 1
"""Exit status of ``--configured`` without a [fleet] section; systemd starts no unit then (ExecCondition=)."""


class Journaled:
    """Messages on standard error, and in the unit's status; the same one again is not repeated."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._last = ""
        self._prefix = "<5>" if os.environ.get("JOURNAL_STREAM") else "eximcertd-fleet: "

    def say(self, sentence: str) -> None:
        """Write a sentence of one line."""
        sentence = clean(sentence)
        self._notifier.status(sentence)
        if sentence != self._last:
            self._last = sentence
            print(f"{self._prefix}{sentence}", file=sys.stderr, flush=True)  # noqa: T201 - the journal reads it


def connector(settings: FleetSettings) -> Callable[[], RelaySide]:
    """Return what connects to the fleet, by the transport that the configuration names."""
    if settings.service:
        from eximcertd.fleet.postgres import PostgresRelaySide  # noqa: PLC0415 - it needs psycopg, which few have

        return lambda: PostgresRelaySide(settings)
    from eximcertd.fleet.directory import DirectoryRelaySide  # noqa: PLC0415 - one of the two

    side = DirectoryRelaySide(settings)
    return lambda: side


def main() -> None:
    """Run eximcertd-fleet; exits with a status of eximcertd.errors.Exit."""
    parser = argparse.ArgumentParser(prog="eximcertd-fleet", description="Connect this relay's eximcertd to a fleet.")
    parser.add_argument("--config", type=Path, default=DEFAULT_FILE, help=f"configuration file ({DEFAULT_FILE})")
    parser.add_argument(
        "--configured", action="store_true", help="tell by the exit status whether this relay is in a fleet, and exit"
    )
    parser.add_argument("--version", action="version", version=f"eximcertd-fleet {__version__}")
    arguments = parser.parse_args()
    os.umask(0o022)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        config = load(arguments.config)
        if config.fleet.relay is None:
            _no_fleet(arguments.config, configured=arguments.configured)
        if not arguments.configured:
            _run(config.fleet, config.control.socket)
    except EximcertdError as error:
        if not arguments.configured:  # else the unit is started, and fails with this error
            print(f"eximcertd-fleet: {error}", file=sys.stderr)  # noqa: T201 - who starts it is to see it
            sys.exit(error.exit_status)


def _run(settings: FleetSettings, socket: Path) -> NoReturn:
    notifier = Notifier()
    told = Journaled(notifier)
    local = ControlSocket(Client(socket), settings.relay or "")
    sync = Sync(local, connector(settings), settings, answered=notifier.alive, say=told.say)
    notifier.ready()
    try:
        sync.run()
    finally:
        notifier.stopping()


def _no_fleet(file: Path, *, configured: bool) -> NoReturn:
    told = f"{file}: [fleet] relay is not set: this relay is in no fleet"
    print(f"eximcertd-fleet: {told}", file=sys.stderr)  # noqa: T201 - the same
    sys.exit(NO_FLEET if configured else Exit.CONFIGURATION)


def _stop(_signal: int, _frame: object) -> NoReturn:
    sys.exit(Exit.DONE)
