"""What the demos of scripts/ share: commands that are shown and run, what has to be seen, and a clean end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from lab.screen import Screen
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LIMIT: Final = 60.0
"""Seconds until something has to be seen."""


class NotSeenError(Exception):
    """Something that the demo is to show did not happen; the message says what."""


class Demo:
    """A directory, whose ``bin`` is first in PATH, and the commands that are run in it."""

    def __init__(self, directory: Path, screen: Screen, stack: ExitStack) -> None:
        self.directory: Final = directory
        self.screen: Final = screen
        self.stack: Final = stack
        self._environment = {**os.environ, "PATH": f"{directory}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

    def script(self, name: str, command: str) -> None:
        """Make a command of the demo."""
        path = self.directory / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\n{command} "$@"\n')
        path.chmod(0o755)

    def quietly(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command, with both outputs in one."""
        return subprocess.run(
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

    def run(self, command: str, *, status: int = 0) -> str:
        """Show a command, run it, show what it prints and return that; raises NotSeenError for another status."""
        self.screen.command(command)
        done = self.quietly(command)
        self.screen.said(done.stdout)
        if done.returncode != status:
            raise NotSeenError(f"the command failed, with status {done.returncode} instead of {status}: {command}")
        return done.stdout


def within(condition: Callable[[], T], what: str) -> T:
    """Wait until ``condition`` is true, and return its answer; raises NotSeenError with ``what``."""
    try:
        return until(condition, what, limit=LIMIT)
    except AssertionError as error:
        raise NotSeenError(str(error)) from None


def play(story: Callable[[Path, Screen, ExitStack], None], after: Callable[[Path], None] | None = None) -> int:
    """Play a story in a directory that is removed afterwards, and return the exit status: 0 if everything was seen.

    after: called with the directory once the summary is shown, while everything still runs.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="eximcertd-demo-"))
    directory.chmod(0o755)
    screen = Screen()
    try:
        with ExitStack() as stack:
            try:
                story(directory, screen, stack)
            except (NotSeenError, AssertionError) as error:
                _complain(f"\nThe demo ends here: {error}\n")
                for log in sorted([*directory.glob("**/log/*log"), *directory.glob("**/*output")]):
                    _complain(f"--- {log.relative_to(directory)}\n{log.read_text()[-2000:]}")
                return 1
            screen.end(time.monotonic() - began)
            if after:
                after(directory)
    except KeyboardInterrupt:
        _complain("\nStopped.")
        return 130
    finally:
        left = _left_running(directory)
        shutil.rmtree(directory, ignore_errors=True)
    if left:
        _complain(f"Still running, and that is a fault of this demo: {' '.join(left)}")
        return 1
    return 0


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


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")


def _terminate(_number: int, _frame: object) -> NoReturn:
    sys.exit(1)
