"""The configuration file, for the programs whose errors are EximcertdError: see eximcertd.settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eximcertd import settings
from eximcertd.errors import ConfigurationError
from eximcertd.settings import DEFAULT_FILE, Config, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DEFAULT_FILE", "Config", "load"]


def load(file: Path) -> Config:
    """Read a configuration file. A missing default file is an empty one. Raises ConfigurationError."""
    try:
        return settings.load(file)
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None
