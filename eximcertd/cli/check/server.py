"""Exim: its program, its configuration, its daemons and the files that it reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from eximcertd.cli.check import files, freshness
from eximcertd.cli.check.access import User
from eximcertd.cli.check.allowlist import compare
from eximcertd.cli.check.authorities import second_look
from eximcertd.cli.check.finding import CheckLine, error, ok, unknown, visible, warning
from eximcertd.cli.check.freshness import EximLog
from eximcertd.cli.check.hash_links import hash_links
from eximcertd.cli.check.printed_config import read
from eximcertd.cli.check.recipe import SETTINGS, Expected, accepting_statements, examine, recipe_in
from eximcertd.cli.check.starttls import handshakes
from eximcertd.errors import EximcertdError
from eximcertd.exim.daemons import OPTIONS, daemons, facts_of
from eximcertd.exim.listeners import named_ports
from eximcertd.exim.settings import Build, Exim, EximError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.cli.check.service import ServiceReport
    from eximcertd.exim.daemons import EximFacts
    from eximcertd.settings import Config

_DENIED = "ermission denied"


def server(config: Config, service: ServiceReport) -> Iterator[CheckLine]:
    """Say what there is to say about Exim."""
    try:
        exim = Exim(config.exim.binary, config.exim.config)
        build = exim.build()
        yield from _program(exim, build, config)
        yield from _configuration(exim, build, config, service)
    except EximError as failure:
        yield _failure(failure, "Exim's configuration")


def _failure(failure: EximcertdError, what: str) -> CheckLine:
    """Return the line about an error; what the caller may not see is no error."""
    if os.geteuid() != 0 and isinstance(failure, EximError) and _DENIED in failure.words + failure.message:
        return unknown(what)
    return error(failure.message, failure.hint)


def _program(exim: Exim, build: Build, config: Config) -> Iterator[CheckLine]:
    if not build.tls:
        yield error(
            f"Exim {build.version} ({exim.binary}) has no TLS library", "install one that has (exim4-daemon-heavy)"
        )
    else:
        yield ok(f"Exim {build.version} with {build.tls}: {exim.binary} reads {build.config}")
    if "dsearch" not in build.lookups and config.allowlist.form != "list":
        yield warning(
            "this Exim has no dsearch lookup: the directory form does not work with it", 'set [allowlist] form = "list"'
        )


def _configuration(exim: Exim, build: Build, config: Config, service: ServiceReport) -> Iterator[CheckLine]:
    settings = exim.settings(*SETTINGS, *OPTIONS, "tls_privatekey", "timezone")
    printed = read(exim.printed())
    user = User.named(settings.get("exim_user", ""))
    try:
        value = exim.macro(config.allowlist.macro)
        seen = True
    except EximError as failure:
        yield _failure(failure, f"the value of the macro {config.allowlist.macro}")
        value, seen = None, False
    expected = Expected(
        config.allowlist.macro, value, config.macro_file, config.log.message, config.certificates.directory, seen
    )
    log = _main_log(config, settings.get("timezone", ""))
    yield from examine(printed, settings, expected)
    names = config.state.directory / "authorities"
    yield from visible(second_look(printed, settings.get("acl_smtp_rcpt", ""), names, config.allowlist.form))
    if value is not None and service.approved is not None:
        yield from compare(value, service.approved, exim, user.name if user and os.geteuid() == 0 else None)
    certificate, key = (_expanded(exim, settings.get(name, ""), user) for name in ("tls_certificate", "tls_privatekey"))
    yield from visible(files.own_certificate(certificate, key, user))
    read_files = {Path(name) for name in printed.included} | ({build.config} if build.config else set())
    try:
        facts = facts_of(str(exim.binary), str(build.config or ""), settings, default=exim.config is None)
        yield from _daemons(facts, log, service.loaded, read_files)
    except EximError as failure:
        yield error(failure.message, failure.hint) if os.geteuid() == 0 else unknown("Exim's daemons")
    if build.config == freshness.GENERATED:
        yield from freshness.generated_is_current()
    empty = f"make an empty list: echo '{config.allowlist.macro} =' >{config.macro_file}"
    yield from visible(files.only_root_writes(config.macro_file, "the macro file", empty))
    if config.file.exists():
        yield from visible(files.only_root_writes(config.file, "the configuration", ""))
    yield from visible(files.state(config, service.user, user))
    yield from visible(files.certificates(config.certificates.directory, user))
    accepting = (statement for _, statement, _ in accepting_statements(printed, settings, expected))
    if build.tls == "OpenSSL" and recipe_in(accepting) == "published":
        yield from visible(hash_links(config.certificates.directory))
    if config.log.source == "file" and log is not None:
        yield from visible(files.log(log.path, service.user))


def _expanded(exim: Exim, value: str, user: User | None) -> str:
    """Return what an option expands to for Exim's user, "" if that cannot be told."""
    try:
        return exim.expand(value, user=user.name if user and os.geteuid() == 0 else None) if "$" in value else value
    except EximError:
        return ""


def _daemons(facts: EximFacts, log: EximLog | None, published: float, configuration: set[Path]) -> Iterator[CheckLine]:
    """Say whether TLS works with each daemon, and whether each has loaded the files of its configuration."""
    running = daemons(facts)
    if not running:
        yield warning("no Exim daemon of this configuration runs", "start it, unless Exim is run for each connection")
        return
    listening = {listener for daemon in running for listener in daemon.listening(facts)}
    endpoints = {(str(one).rpartition(":")[0].strip("[]"), one.port) for one in listening}
    yield from handshakes(endpoints, named_ports((), facts.tls_ports))
    for daemon in running:
        yield freshness.daemon_is_current(daemon.pid, daemon.started_at(), sorted(configuration), log, published)


def _main_log(config: Config, timezone: str) -> EximLog | None:
    """Return Exim's main log, None if it writes none or does not tell. timezone: Exim's option."""
    from eximcertd.log.choose import main_log  # noqa: PLC0415 - the log's packages take long to import
    from eximcertd.log.zone import zone_of  # noqa: PLC0415 - the same

    try:
        return EximLog(config.log.path or main_log(config), zone_of(timezone))
    except EximcertdError:
        return None
