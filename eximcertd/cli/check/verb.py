"""eximcertctl check: asks Exim, the file system and the daemon, and says what it finds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.check import files
from eximcertd.cli.check.access import User
from eximcertd.cli.check.finding import Line, Verdict, bad, good, odd
from eximcertd.cli.check.honoured import compare
from eximcertd.cli.check.printed import read
from eximcertd.cli.check.recipe import SETTINGS, Expected, examine
from eximcertd.cli.context import Context, json_option
from eximcertd.cli.formatting import wrapped
from eximcertd.cli.output import print_json
from eximcertd.errors import EximcertdError, Exit, NoAnswerError
from eximcertd.exim.settings import Exim, EximError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.config import Config

_SERVICE: Final = "eximcertd"
_MARKS: Final = {Verdict.GOOD: ("good", "green"), Verdict.ODD: ("odd ", "yellow"), Verdict.BAD: ("BAD ", "red")}
_MOST_COMPARED: Final = 100_000


@click.command("check")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Look at the whole set-up: each line good, odd or bad, with what to do.

    Run it as root: some of it only root can see. The exit status is 1 if a line is bad.
    """
    lines = list(diagnose(ctx.obj))
    if as_json:
        print_json([line.as_json() for line in lines])
    else:
        for line in lines:
            _print(line)
    ctx.exit(int(Exit.FAILED if any(line.verdict is Verdict.BAD for line in lines) else Exit.DONE))


def diagnose(context: Context) -> Iterator[Line]:
    """Yield every finding. Raises ConfigurationError: without a configuration there is nothing to look at."""
    config = context.config()
    if os.geteuid() != 0:
        yield odd("this user does not see everything", "run it as root")
    daemon = _Daemon(context)
    yield from daemon.lines()
    service = User.of_process(daemon.pid) if daemon.pid else User.named(_SERVICE)
    yield from _exim(config, service, daemon)
    yield from files.publisher(config)
    yield from files.groups(config)
    yield from files.socket(config.control.socket)


def _print(line: Line) -> None:
    mark, colour = _MARKS[line.verdict]
    first, *others = wrapped(f"{mark}  ", line.sentence)
    click.echo(click.style(mark, fg=colour, bold=line.verdict is not Verdict.GOOD) + first[len(mark) :])
    for other in others:
        click.echo(other)
    for text in wrapped("      -> ", line.remedy) if line.remedy else ():
        click.echo(text)


class _Daemon:
    """What eximcertd itself tells, if it answers. pid: its process, or 0. approved: None where it is not known."""

    def __init__(self, context: Context) -> None:
        self.pid = 0
        self.approved: set[str] | None = None
        self._found: list[Line] = []
        try:
            with context.client() as client:
                status = client.call("Status")["status"]
                self.pid = int(status["pid"])
                self._found = [_line(line) for line in client.call("Check")["lines"]]
                if status["counts"]["approved"] <= _MOST_COMPARED:
                    self.approved = {
                        entry["fingerprint"]
                        for portion in client.stream("List", {"standings": ["approved"], "prefixes": []})
                        for entry in portion["entries"]
                    }
        except NoAnswerError as error:
            self._found = [bad(error.message, error.hint)]
        except EximcertdError as error:
            self._found = [odd(f"eximcertd tells this user nothing: {error.message}", error.hint)]
        else:
            self._found.insert(0, good(f"eximcertd {status['version']} answers (process {self.pid})"))

    def lines(self) -> list[Line]:
        """Return its findings."""
        return self._found


def _line(given: dict[str, Any]) -> Line:
    return Line(Verdict(given["verdict"]), given["sentence"], given["remedy"])


def _exim(config: Config, service: User | None, daemon: _Daemon) -> Iterator[Line]:
    """Yield what there is to say about Exim and the files that it reads."""
    try:
        exim = Exim(config.exim.binary, config.exim.config)
        build = exim.build()
    except EximError as error:
        yield files.spell(error)
        return
    if not build.tls:
        yield bad(
            f"Exim {build.version} ({exim.binary}) has no TLS library", "install one that has (exim4-daemon-heavy)"
        )
    else:
        yield good(f"Exim {build.version} with {build.tls}: {exim.binary} reads {build.config}")
    if "dsearch" not in build.lookups and config.allowlist.form != "list":
        yield odd(
            "this Exim has no dsearch lookup: the directory form does not work with it", '[allowlist] form = "list"'
        )
    try:
        yield from _configuration(exim, config, service, daemon)
    except EximcertdError as error:
        yield files.spell(error)


def _configuration(exim: Exim, config: Config, service: User | None, daemon: _Daemon) -> Iterator[Line]:
    settings = exim.settings(*SETTINGS, "exim_user", "spool_directory", "pid_file_path")
    yield files.daemon(settings, config.exim.pid_file)
    user = User.named(settings.get("exim_user", ""))
    file = _macro_file(config)
    value = exim.macro(config.allowlist.macro)
    expected = Expected(config.allowlist.macro, value, file, config.log.message, config.certificates.directory)
    yield from examine(read(exim.printed()), settings, expected)
    if value is not None and daemon.approved is not None:
        as_user = user.name if user and os.geteuid() == 0 else None
        yield from compare(value, daemon.approved, exim, as_user)
    yield from files.only_root_writes(file, "the macro file")
    if config.file.exists():
        yield from files.only_root_writes(config.file, "the configuration")
    yield from files.state(config, service, user)
    yield from files.certificates(config.certificates.directory, user)
    if config.log.source == "file":
        yield from _log(config, service)


def _log(config: Config, service: User | None) -> Iterator[Line]:
    from eximcertd.log.choose import main_log  # noqa: PLC0415 - the log room is the daemon's, and heavy

    try:
        yield from files.log(config.log.path or main_log(config), service)
    except EximcertdError as error:
        yield files.spell(error)


def _macro_file(config: Config) -> Path:
    """Return the macro file that root's part writes. Raises EximcertdError if it could not, by root's configuration."""
    from eximcertd.publish import settings  # noqa: PLC0415 - root's part, which nothing but this asks here
    from eximcertd.publish.stop import Stop  # noqa: PLC0415 - the same

    try:
        return settings.load(config.file.absolute()).file
    except Stop as stop:
        raise EximcertdError(f"root's part cannot use the configuration: {stop.message}") from None
    except OSError as error:
        raise EximcertdError(f"root's part cannot read the configuration: {error.strerror}") from None
