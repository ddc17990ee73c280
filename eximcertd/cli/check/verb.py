"""eximcertctl check: asks eximcertd, Exim and the file system, and prints what it finds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from eximcertd.cli.check import files, service
from eximcertd.cli.check.finding import CheckLine, Verdict
from eximcertd.cli.check.groups import groups
from eximcertd.cli.check.server import server
from eximcertd.cli.context import json_option
from eximcertd.cli.formatting import count, wrapped
from eximcertd.cli.output import print_json, say
from eximcertd.errors import EximcertdError, Exit
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from eximcertd.cli.context import Context

_COLOURS: Final = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.ERROR: "red", Verdict.UNKNOWN: None}
_PLUGIN: Final = {Verdict.OK: 0, Verdict.WARNING: 1, Verdict.ERROR: 2, Verdict.UNKNOWN: 3}
"""Exit statuses of monitoring plugins (Monitoring Plugins Development Guidelines)."""

_MARK: Final = 9
"""Columns before a sentence."""


@click.command("check")
@click.option("--quiet", is_flag=True, help="One line, and the exit status of a monitoring plugin.")
@json_option
@click.pass_context
def command(ctx: click.Context, quiet: bool, as_json: bool) -> None:
    """Check the whole set-up. Each line is ok, warning or error, with what to do.

    What this user cannot see is left out and named; root sees everything. The exit status is 1 if a line is
    an error. With --quiet it is 0 (ok), 1 (warning), 2 (error) or 3 (unknown: nothing could be checked).
    """
    try:
        lines = fold(diagnose(ctx.obj))
    except EximcertdError as failure:
        if not quiet:
            raise
        lines = [CheckLine(Verdict.UNKNOWN, failure.message.replace("\n", "; "), failure.hint)]
    if as_json:
        print_json([line.as_json() for line in lines])
    elif quiet:
        say(summary(lines))
    else:
        for line in lines:
            _print(line)
    failed = any(line.verdict is Verdict.ERROR for line in lines)
    ctx.exit(_PLUGIN[worst(lines)] if quiet else int(Exit.FAILED if failed else Exit.DONE))


def diagnose(context: Context) -> Iterator[CheckLine]:
    """Yield every finding. Raises ConfigurationError."""
    config = context.config()
    told = service.ask(context)
    yield from told.lines
    yield from server(config, told)
    yield files.part("via", config.publish.via, "eximcertd-publish")
    yield files.part("reload_via", config.publish.reload_via, "eximcertd-reload")
    yield from groups({"readers": config.control.readers, "approvers": config.control.approvers}, told.groups)
    yield from files.socket(config.control.socket)


def fold(lines: Iterable[CheckLine]) -> list[CheckLine]:
    """Return the lines, with all that is not visible to the caller in one at the end."""
    every = list(lines)
    hidden = list(dict.fromkeys(line.sentence for line in every if line.verdict is Verdict.UNKNOWN))
    seen = [line for line in every if line.verdict is not Verdict.UNKNOWN]
    if hidden:
        remedy = "" if os.geteuid() == 0 else "run it as root"
        seen.append(CheckLine(Verdict.UNKNOWN, f"not visible to this user: {'; '.join(hidden)}", remedy))
    return seen


def worst(lines: Iterable[CheckLine]) -> Verdict:
    """Return the most severe verdict; UNKNOWN only if there is no other."""
    there = {line.verdict for line in lines}
    return next((one for one in (Verdict.ERROR, Verdict.WARNING, Verdict.OK) if one in there), Verdict.UNKNOWN)


def summary(lines: list[CheckLine]) -> str:
    """Return one line: the most severe verdict and the first sentence that has it."""
    verdict = worst(lines)
    alike = [line.sentence for line in lines if line.verdict is verdict]
    if verdict is Verdict.OK:
        return f"{verdict}: {count(len(alike), 'check')} passed"
    more = f" (and {len(alike) - 1} more: eximcertctl check)" if len(alike) > 1 else ""
    return shown(f"{verdict}: {alike[0] if alike else 'nothing could be checked'}", 300) + more


def _print(line: CheckLine) -> None:
    first, *others = wrapped(f"{line.verdict:<{_MARK}}", line.sentence)
    mark = click.style(line.verdict, fg=_COLOURS[line.verdict], bold=line.verdict is not Verdict.OK)
    click.echo(mark + first[len(line.verdict) :])
    for other in others:
        click.echo(other)
    for text in wrapped(f"{'':{_MARK}}-> ", line.remedy) if line.remedy else ():
        click.echo(text)
