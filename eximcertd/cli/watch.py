"""eximcertctl watch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.context import Context, json_option
from eximcertd.cli.formatting import pending
from eximcertd.cli.output import say
from eximcertd.cli.times import local
from eximcertd.control.client import LostError
from eximcertd.errors import EximcertdError, Exit, UsageError
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.control.client import Client

LIMIT: Final = 60.0
"""Seconds that the program may take for one event, as those of [notify] and [policy] may."""

_PATIENCE: Final = 2.0  # seconds until a program that was killed has ended


@click.command("watch")
@click.option(
    "--exec", "program", metavar="PROGRAM", help="Run it for each event, with JSON on standard input, 60 s at most."
)
@click.option("--once", is_flag=True, help="End after the first event.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Wait for no longer.")
@json_option
@click.pass_context
def command(ctx: click.Context, program: str | None, once: bool, timeout: float | None, as_json: bool) -> None:
    """Print events as they happen, until interrupted. With --json, one object per line.

    With --timeout the exit status is 1 if no event has come for so long.
    """
    context: Context = ctx.obj
    if program is not None and as_json:
        raise UsageError("--json does not go with --exec: the program gets each event as JSON, and nothing is printed")
    with context.client() as client:
        try:
            for event in _events(client, timeout):
                if program is None:
                    _say(event, as_json=as_json)
                else:
                    _run(program, event)
                if once:
                    return
        except LostError as error:
            if isinstance(error.__context__, TimeoutError) and timeout is not None:
                say(f"no event within {timeout:g} s", err=True)
                ctx.exit(int(Exit.FAILED))
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise


def _events(client: Client, timeout: float | None) -> Iterator[dict[str, Any]]:
    for portion in client.stream("Watch", timeout=timeout or float("inf")):
        yield from portion["events"]


def _say(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(event))
        return
    say(f"{local(event['at'])}  {clean(event['sentence'])}")
    if event["entry"] is not None and event["kind"] == "seen":
        say("\n".join(pending(event["entry"])))


def _run(program: str, event: dict[str, Any]) -> None:
    """Run the program, without a shell, as the user who watches. Raises EximcertdError if it cannot be started.

    Later events wait for its end: eximcertd disconnects a watcher that has 1,000 of them to read.
    """
    try:
        running = subprocess.Popen([program], stdin=subprocess.PIPE, text=True, process_group=0)
    except OSError as error:
        raise EximcertdError(f"{program} cannot be run: {error.strerror}") from None
    try:
        running.communicate(json.dumps(event) + "\n", timeout=LIMIT)
        if running.returncode:
            say(f"{program} ended with {running.returncode}", err=True)
    except subprocess.TimeoutExpired:
        say(f"{program} did not end within {LIMIT:g} s, and was killed", err=True)
    finally:
        if running.poll() is None:
            with suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
                os.killpg(running.pid, signal.SIGKILL)
                running.communicate(timeout=_PATIENCE)
