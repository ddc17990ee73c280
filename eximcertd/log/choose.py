"""Makes the source that the configuration names; Exim is asked for settings that it leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.errors import ConfigurationError
from eximcertd.exim.settings import Exim, EximError
from eximcertd.log.journal import USUAL_NAME, JournalSource
from eximcertd.log.line import Grammar
from eximcertd.log.tailer import Tailer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from eximcertd.log.source import Source
    from eximcertd.settings import Config

LOOK_EVERY: Final = 10.0
"""Seconds between looks at a log of which nothing is heard."""

_USUAL: Final = (Path("/var/log/exim4/mainlog"), Path("/var/log/exim/mainlog"), Path("/var/log/exim/main.log"))
_SETTINGS: Final = ("log_file_path", "spool_directory", "timezone", "syslog_processname")


def source_of(
    config: Config,
    position: str | None,
    files: Iterable[str],
    *,
    known: Callable[[str], bool],
    look_every: float = LOOK_EVERY,
) -> Source:
    """Return the source.

    position, files: what the ledger keeps of it, see Batch. known: tells which fingerprints have a certificate.
    look_every: seconds after which a reader that hears nothing goes round all the same, which the watchdog counts
    on. Raises EximcertdError.
    """
    grammar = Grammar(config.log.message)
    try:
        settings = Exim(config.exim.binary, config.exim.config).settings(*_SETTINGS)
    except EximError:
        settings = {}  # a service user may not read Exim's configuration: then it is the usual
    timezone = settings.get("timezone", "")
    if config.log.source == "journal":
        name = settings.get("syslog_processname") or USUAL_NAME
        return JournalSource(grammar, position, name=name, timezone=timezone)
    path = config.log.path or main_log(config)
    return Tailer(path, grammar, position, files, known=known, timezone=timezone, floor=look_every)


def main_log(config: Config) -> Path:
    """Return Exim's main log: from log_file_path, or else the usual path.

    Exim specification, chapter "Log files": a colon-separated list of paths with %s for "main" and of the word
    syslog; an empty item is the path that Exim was built with, and that defaults to SPOOL/log/%slog. Raises
    ConfigurationError.
    """
    try:
        exim = Exim(config.exim.binary, config.exim.config)
        settings = exim.settings("log_file_path", "spool_directory")
        parts = [part.strip() for part in settings.get("log_file_path", "").split(":")]
        if "" in parts and len(parts) > 1:
            built_in = Exim(exim.binary, Path("/dev/null")).settings("log_file_path").get("log_file_path", "")
            parts += [part.strip() for part in built_in.split(":")]
    except EximError as error:
        for path in _USUAL:  # a service user may not read Exim's configuration
            if path.parent.is_dir():
                return path
        raise ConfigurationError(
            f"Exim cannot be asked where its main log is: {error.message}", hint="Name it as [log] path."
        ) from error
    for part in parts:
        if part.startswith("/"):
            return Path(part.replace("%s", "main"))
    if "" not in parts:
        raise ConfigurationError(
            "Exim logs to syslog only (log_file_path)", hint='Set [log] source = "journal", or name a [log] path.'
        )
    return Path(settings.get("spool_directory") or "/var/spool/exim") / "log" / "mainlog"
