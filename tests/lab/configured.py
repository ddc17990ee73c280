"""eximcertd.toml for an Exim of the lab, in a directory of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Configured:
    """A program with its directory and its configuration file.

    settings: the values of the file, by section; [state] has its directory. changes: those that differ.
    """

    def __init__(
        self,
        directory: Path,
        settings: dict[str, dict[str, Any]],
        changes: Mapping[str, Mapping[str, Any]] | None,
    ) -> None:
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        self.directory: Final = directory
        self.config: Final = directory / "eximcertd.toml"
        self.allowed: Final = Path(settings["state"]["directory"]) / "allowed"
        self._settings: Final = settings
        self.configure(changes or {})

    def configure(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Change values of the configuration file and write it; None leaves a key out. What runs is not told."""
        for section, values in settings.items():
            self._settings.setdefault(section, {}).update(values)
        lines = []
        for section, values in self._settings.items():
            lines.append(f"[{section}]")
            # A TOML value of text, whole number or list of texts is spelled as JSON spells it.
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
        self.config.write_text("\n".join(lines) + "\n")
        self.config.chmod(0o644)

    def allow(self, *fingerprints: str) -> None:
        """Put fingerprints into the directory of the directory form, as eximcertd does."""
        self.allowed.mkdir(exist_ok=True)
        self.allowed.chmod(0o755)
        for fingerprint in fingerprints:
            (self.allowed / fingerprint).touch()
