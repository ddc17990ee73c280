"""The source that the configuration asks for; where it names no log, Exim is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.errors import ConfigurationError
from eximcertd.exim.settings import Exim, EximError
from eximcertd.log.follow import Follower
from eximcertd.log.line import Grammar

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.config import Config
    from eximcertd.log.source import Source

LOOK_EVERY: Final = 10.0
"""Seconds between looks at a log of which nothing is heard."""

_USUAL: Final = (Path("/var/log/exim4/mainlog"), Path("/var/log/exim/mainlog"), Path("/var/log/exim/main.log"))


def source_of(
    config: Config, position: Callable[[str], str | None], look_every: float = LOOK_EVERY
) -> tuple[Source, str]:
    """Return the source and the name under which the ledger keeps its position.

    position: gives the stored position of a name. look_every: seconds after which a reader that hears nothing
    goes round all the same, which the watchdog counts on. Raises ConfigurationError where no log can be found out.
    """
    grammar = Grammar(config.log.message)
    if config.log.source == "journal":
        from eximcertd.log.journal import JournalSource  # noqa: PLC0415 - needs systemd-python, which is optional

        return JournalSource(grammar, position("journal")), "journal"
    path = config.log.path or main_log(config)
    return Follower(path, grammar, position("file"), floor=look_every), "file"


def main_log(config: Config) -> Path:
    """Return Exim's main log: what Exim says (log_file_path), else where it usually lies.

    Exim specification, chapter "Log files": a colon-separated list of paths with %s for "main" and of the
    word syslog; empty means SPOOL/log/%slog. Raises ConfigurationError.
    """
    try:
        settings = Exim(config.exim.binary, config.exim.config).settings("log_file_path", "spool_directory")
    except EximError as error:
        # a service user may not read Exim's configuration: the usual places are left
        for path in _USUAL:
            if path.parent.is_dir():
                return path
        raise ConfigurationError(
            f"Exim cannot be asked where its main log is: {error.message}", hint="Name it as [log] path."
        ) from error
    for part in settings.get("log_file_path", "").split(":"):
        if part.strip().startswith("/"):
            return Path(part.strip().replace("%s", "main"))
    if "syslog" in settings.get("log_file_path", ""):
        raise ConfigurationError(
            "Exim logs to syslog only (log_file_path)", hint='Set [log] source = "journal", or name a [log] path.'
        )
    return Path(settings.get("spool_directory") or "/var/spool/exim") / "log" / "mainlog"
