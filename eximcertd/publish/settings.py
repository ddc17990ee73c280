"""Root's own configuration: the keys of the configuration file that the publisher obeys, and no others.

The file is read only if root alone could have written it. Unknown keys are eximcertd's to complain about.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eximcertd.publish.safely import Directory
from eximcertd.publish.stop import refused, shown

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_FILE: Final = Path("/etc/eximcertd/eximcertd.toml")
_LARGEST_FILE: Final = 1 << 20
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9._+-]+)+")
_PROGRAMS: Final = ("/usr/sbin/exim4", "/usr/sbin/exim", "/usr/local/sbin/exim", "/usr/exim/bin/exim")
_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Settings:
    """What root has set.

    macro, file: the macro and the file that holds it. program: Exim. config, pid_file: None: Exim's own.
    reload: whether there is a daemon to signal. restart: whether Exim is restarted if a reload killed it.
    form: "list" or "directory", or "auto": either. allowed: the directory of the directory form.
    max_fingerprints: of a list. min_interval: seconds between reloads. max_shrink: percent of what is honoured now.
    """

    macro: str
    file: Path
    program: Path
    config: Path | None
    pid_file: Path | None
    reload: bool
    restart: bool
    form: str
    allowed: Path
    max_fingerprints: int
    min_interval: float
    max_shrink: int


class _Reader:
    def __init__(self, file: Path, tables: dict[str, Any]) -> None:
        self._file = file
        self._tables = tables

    def get(self, section: str, key: str, default: Any, wanted: str, fits: Callable[[Any], bool]) -> Any:
        table = self._tables.get(section, {})
        if not isinstance(table, dict):
            raise refused(f"{self._file}: {section} is a value, not a section")
        value = table.get(key, default)
        if value is not default and not fits(value):
            raise refused(f"{self._file}: [{section}] {key} = {shown(repr(value), 60)}: expected {wanted}")
        return value

    def path(self, section: str, key: str, default: str | None) -> Path | None:
        value = self.get(
            section,
            key,
            default,
            "an absolute path of letters, digits and . _ + - without ..",
            lambda found: isinstance(found, str) and bool(_PLAIN.fullmatch(found)) and ".." not in Path(found).parts,
        )
        return None if value is None else Path(value)

    def choice(self, section: str, key: str, choices: tuple[str, str]) -> bool:
        wanted = " or ".join(f'"{choice}"' for choice in choices)
        return bool(self.get(section, key, choices[0], wanted, lambda value: value in choices) == choices[0])

    def number(self, section: str, key: str, default: int, highest: int) -> int:
        wanted = f"a whole number up to {highest}"
        return int(self.get(section, key, default, wanted, lambda value: type(value) is int and 0 <= value <= highest))

    def seconds(self, section: str, key: str, default: str) -> float:
        pattern = re.compile(r"(\d{1,6}) ?(s|min|h|d)")
        value = self.get(
            section,
            key,
            default,
            'a time such as "2s" or "5min"',
            lambda found: isinstance(found, str) and bool(pattern.fullmatch(found)),
        )
        number, unit = pattern.fullmatch(value).groups()  # type: ignore[union-attr]  # it was matched above
        return float(int(number) * _UNITS[unit])


def load(file: Path) -> Settings:
    """Read the configuration. A missing default file is an empty one. Raises Stop and OSError."""
    raw: bytes | None = None
    if file != DEFAULT_FILE or os.path.lexists(file):
        directory = Directory(file.parent)
        try:
            raw = directory.read(file.name, _LARGEST_FILE)
        finally:
            directory.close()
        if raw is None:
            raise refused(f"{file}: there is no such file")
    try:
        return read(file, tomllib.loads((raw or b"").decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise refused(f"{file}: not TOML: {error}") from None


def read(file: Path, tables: dict[str, Any]) -> Settings:
    """Return the settings that the tables of a TOML file hold. Raises Stop."""
    reader = _Reader(file, tables)
    config = reader.path("exim", "config", None)
    macro_file = reader.path("allowlist", "file", None)
    if macro_file is None:
        beside = config.parent if config else Path("/etc/exim4" if Path("/etc/exim4").is_dir() else "/etc/exim")
        macro_file = beside / "relay_from_certs"
    program = reader.path("exim", "binary", None)
    state = reader.path("state", "directory", "/var/lib/eximcertd") or Path()
    return Settings(
        macro=reader.get(
            "allowlist",
            "macro",
            "RELAY_FROM_CERTS",
            "the name of an Exim macro",
            lambda name: isinstance(name, str) and bool(re.fullmatch(r"[A-Z][A-Za-z0-9_]{0,62}", name)),
        ),
        file=macro_file,
        program=program or Path(next((path for path in _PROGRAMS if Path(path).exists()), _PROGRAMS[0])),
        config=config,
        pid_file=reader.path("exim", "pid_file", None),
        reload=reader.choice("exim", "reload", ("signal", "none")),
        restart=not reader.choice("publish", "on_dead", ("report", "restart")),
        form=reader.get(
            "allowlist",
            "form",
            "auto",
            '"auto", "list" or "directory"',
            lambda form: form in ("auto", "list", "directory"),
        ),
        allowed=state / "allowed",
        max_fingerprints=reader.number("publish", "max_fingerprints", 100_000, 1_000_000),
        min_interval=reader.seconds("publish", "min_interval", "1s"),
        max_shrink=reader.number("publish", "max_shrink", 50, 100),
    )
