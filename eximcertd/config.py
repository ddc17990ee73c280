"""Reading the configuration file, for the programs whose errors are EximcertdError.

eximcertd.settings reads the tables that the programs for a publication use too. The tables here concern eximcertd
only, so that root's part has no code for them.
"""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd import settings
from eximcertd.errors import ConfigurationError
from eximcertd.settings import DEFAULT_FILE, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFAULT_FILE", "DaemonConfig", "adopted", "load"]


class NotifySettings(NamedTuple):
    """[notify]: how people are notified. mail: an address. command: a program and its arguments."""

    mail: str | None = None
    command: tuple[str, ...] = ()


class PolicySettings(NamedTuple):
    """[policy]: what decides in a person's place. approve_renewals: "same-key" or "never"."""

    command: tuple[str, ...] = ()
    approve_renewals: str = "never"


class MetricsSettings(NamedTuple):
    """[metrics]: the file for the textfile collector of Prometheus' node_exporter, or None."""

    file: Path | None = None


class FleetSettings(NamedTuple):
    """[fleet]: the fleet of relays that this one belongs to. relay: this relay's name there; None: there is no fleet.

    directory or service: where the acts are, a directory of files or a service of libpq. signers: in the format of
    ssh-keygen's allowed_signers. pull: a command that updates the directory. user: of eximcertd-fleet.
    """

    relay: str | None = None
    directory: Path | None = None
    service: str | None = None
    signers: Path | None = None
    pull: tuple[str, ...] = ()
    poll: timedelta = timedelta(seconds=30)
    report: timedelta = timedelta(seconds=15)
    hint: bool = True
    peers: bool = True
    user: str = "eximcertd-fleet"


class DaemonConfig(settings.Config):
    """The whole configuration of eximcertd."""

    notify: NotifySettings = NotifySettings()
    policy: PolicySettings = PolicySettings()
    metrics: MetricsSettings = MetricsSettings()
    fleet: FleetSettings = FleetSettings()


def load(file: Path) -> DaemonConfig:
    """Read a configuration file. A missing default file is an empty one. Raises ConfigurationError."""
    try:
        with file.open("rb") as stream:
            return decode(stream.read(settings.LARGEST_FILE + 1), file)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and file == DEFAULT_FILE:
            return DaemonConfig()
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from None


def decode(raw: bytes, file: Path) -> DaemonConfig:
    """Return the configuration in the bytes of a file. Raises ConfigurationError with every mistake in it."""
    mistakes: list[str] = []
    config = DaemonConfig(file)
    try:
        config = DaemonConfig(*settings.decode(raw, file, _SHARED))
    except SettingsError as error:
        mistakes.append(str(error))
    try:
        given = tomllib.loads(raw.decode())
    except ValueError:
        given = {}  # the other reader has said so
    for name, table in given.items():
        if name in _KEYS and isinstance(table, dict):
            values = _values(f"{file}: [{name}]", _KEYS[name], table, mistakes)
            setattr(config, name, getattr(config, name)._replace(**values))
        elif name not in _SHARED:
            what = "expected a section, not a value" if name in _KEYS else "no such section"
            mistakes.append(f"{file}: [{name}]: {what}; there are {', '.join((*_SHARED, *_KEYS))}")
    mistakes += [] if mistakes else [f"{file}: [fleet]: {wrong}" for wrong in _incomplete(config.fleet)]
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return config


def adopted(old: DaemonConfig, new: DaemonConfig) -> tuple[DaemonConfig, list[str]]:
    """Return what a running daemon makes of a new configuration, and the keys whose change needs a restart."""
    running = new._replace(
        log=old.log,
        exim=old.exim,
        state=old.state,
        control=new.control._replace(socket=old.control.socket),
        certificates=new.certificates._replace(directory=old.certificates.directory),
    )
    running.notify, running.policy, running.metrics, running.fleet = new.notify, new.policy, new.metrics, old.fleet
    sections = ("log", "exim", "state", "fleet")
    restart = [f"[{name}]" for name in sections if getattr(old, name) != getattr(new, name)]
    restart += ["[control] socket"] if old.control.socket != new.control.socket else []
    restart += ["[certificates] directory"] if old.certificates.directory != new.certificates.directory else []
    return running, restart


def _incomplete(fleet: FleetSettings) -> list[str]:
    """Return what a [fleet] section lacks; one without any key is no fleet."""
    if fleet == FleetSettings():
        return []
    missing = [] if fleet.relay else ["relay is not set: the name of this relay in the fleet"]
    if (fleet.directory is None) == (fleet.service is None):
        missing.append("expected either directory (a fleet by files) or service (by PostgreSQL)")
    elif fleet.directory and not fleet.signers:
        missing.append("signers is not set: acts in files must be signed")
    return missing


def _values(
    where: str, keys: dict[str, Callable[[Any], Any]], table: dict[str, Any], mistakes: list[str]
) -> dict[str, Any]:
    values = {}
    for key, value in table.items():
        if key not in keys:
            mistakes.append(f"{where} {key}: no such key; there are {', '.join(keys)}")
            continue
        try:
            values[key] = keys[key](value)
        except ValueError as error:
            mistakes.append(f"{where} {key} = {str(value)[:60]!a}: expected {error}")
    return values


def _address(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._+=-]{1,64}(@[A-Za-z0-9.-]{1,255})?", value):
        return value
    raise ValueError('a mail address, such as "postmaster@example.org"')


def _command(value: Any) -> tuple[str, ...]:
    texts = isinstance(value, list) and all(isinstance(one, str) and "\0" not in one for one in value)
    if texts and (not value or value[0].startswith("/")):
        return tuple(value)
    raise ValueError('a list: the absolute path of a program, and its arguments, such as ["/usr/local/bin/tell", "-v"]')


def _renewals(value: Any) -> str:
    if value in {"same-key", "never"}:
        return str(value)
    raise ValueError('"same-key" or "never"')


def _file(value: Any) -> Path:
    if isinstance(value, str) and value.startswith("/") and value.isprintable() and ".." not in Path(value).parts:
        return Path(value)
    raise ValueError('an absolute path without ".."')


def _name(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
        return value
    raise ValueError("a name of at most 63 letters, digits and . _ -, such as mx1.example.org")


def _interval(value: Any) -> timedelta:
    interval = settings.duration(value)
    if not timedelta(seconds=1) <= interval <= timedelta(days=1):
        raise ValueError('a time from "1s" to "1d"')
    return interval


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


_SHARED: Final = tuple(name for name in settings.Config._fields if name != "file")
_KEYS: Final[dict[str, dict[str, Callable[[Any], Any]]]] = {
    "notify": {"mail": _address, "command": _command},
    "policy": {"command": _command, "approve_renewals": _renewals},
    "metrics": {"file": _file},
    "fleet": {
        "relay": _name,
        "directory": _file,
        "service": _name,
        "signers": _file,
        "pull": _command,
        "poll": _interval,
        "report": _interval,
        "hint": _switch,
        "peers": _switch,
        "user": _name,
    },
}
