"""Reading the configuration file, for the programs whose errors are EximcertdError."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eximcertd import settings
from eximcertd.errors import ConfigurationError
from eximcertd.settings import DEFAULT_FILE, Config, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DEFAULT_FILE", "Config", "adopted", "load"]


def load(file: Path) -> Config:
    """Read a configuration file. A missing default file is an empty one. Raises ConfigurationError."""
    try:
        with file.open("rb") as stream:
            return settings.decode(stream.read(settings.LARGEST_FILE + 1), file)
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None
    except OSError as error:
        if isinstance(error, FileNotFoundError) and file == DEFAULT_FILE:
            return Config()
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from None


def adopted(old: Config, new: Config) -> tuple[Config, list[str]]:
    """Return what a running daemon makes of a new configuration, and the keys whose change needs a restart."""
    running = new._replace(
        log=old.log,
        exim=old.exim,
        state=old.state,
        control=new.control._replace(socket=old.control.socket),
        certificates=new.certificates._replace(directory=old.certificates.directory),
    )
    sections = ("log", "exim", "state")
    restart = [f"[{name}]" for name in sections if getattr(old, name) != getattr(new, name)]
    restart += ["[control] socket"] if old.control.socket != new.control.socket else []
    restart += ["[certificates] directory"] if old.certificates.directory != new.certificates.directory else []
    return running, restart
