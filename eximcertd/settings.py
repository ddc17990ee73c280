"""The reader of the configuration file (TOML), for all programs. Every mistake is reported at once.

Standard library only, few imports: the programs that are started for each publication use it too, and read only
the tables that concern them. Pure. A key whose default is None is asked of Exim (eximcertd.exim), or follows from
another key. etc/eximcertd.toml in the source tree shows every key.
"""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

DEFAULT_FILE: Final = Path("/etc/eximcertd/eximcertd.toml")
LARGEST_FILE: Final = 1 << 20
DEFAULT_MESSAGE: Final = "Attempt to relay from a certificate which has not been explicitly allowed:"
DEBIAN: Final = Path("/etc/exim4")


class SettingsError(ValueError):
    """The configuration file cannot be used. The text has one line for each mistake: file, key, what is expected."""


class LogSettings(NamedTuple):
    """[log]: where rejections are read. path None: Exim's log_file_path."""

    source: str = "file"
    path: Path | None = None
    message: str = DEFAULT_MESSAGE


class CertificateSettings(NamedTuple):
    """[certificates]: the directory that Exim trusts, and how long before an expiry a warning is given."""

    directory: Path = Path("/etc/ssl/certs")
    expires_within: timedelta = timedelta(days=30)


class AllowlistSettings(NamedTuple):
    """[allowlist]: the macro, its file and its form. file None: relay_from_certs beside Exim's configuration.

    drop_expired_after: of earlier versions, not used: an expired certificate is never on the list.
    """

    macro: str = "RELAY_FROM_CERTS"
    file: Path | None = None
    form: str = "auto"
    list_limit: int = 1000
    drop_expired_after: timedelta | None = None


class EximSettings(NamedTuple):
    """[exim]: the program, its configuration file, the daemon's pid file. None: found, or asked of Exim."""

    binary: Path | None = None
    config: Path | None = None
    pid_file: Path | None = None
    reload: str = "signal"


class StateSettings(NamedTuple):
    """[state]: the directory that holds ledger/, allowed/ and published/."""

    directory: Path = Path("/var/lib/eximcertd")


class ControlSettings(NamedTuple):
    """[control]: the control socket, and the groups that may read and approve. Root always may."""

    socket: Path = Path("/run/eximcertd/control")
    readers: tuple[str, ...] = ("eximcertd",)
    approvers: tuple[str, ...] = ()


class PublishSettings(NamedTuple):
    """[publish]: how the two other programs are reached, and the limits of root's part. max_shrink: percent."""

    via: str = "socket:/run/eximcertd-publish"
    reload_via: str = "socket:/run/eximcertd-reload"
    max_fingerprints: int = 100_000
    min_interval: timedelta = timedelta(seconds=1)
    max_shrink: int = 50


class QueueSettings(NamedTuple):
    """[queue]: the limits of the pending list."""

    unmatched_limit: int = 10_000
    forget_pending_after: timedelta = timedelta(days=90)


class Config(NamedTuple):
    """The whole configuration. file: where it was read."""

    file: Path = DEFAULT_FILE
    log: LogSettings = LogSettings()
    certificates: CertificateSettings = CertificateSettings()
    allowlist: AllowlistSettings = AllowlistSettings()
    exim: EximSettings = EximSettings()
    state: StateSettings = StateSettings()
    control: ControlSettings = ControlSettings()
    publish: PublishSettings = PublishSettings()
    queue: QueueSettings = QueueSettings()

    @property
    def macro_file(self) -> Path:
        """The file that defines the macro."""
        beside = self.exim.config.parent if self.exim.config else DEBIAN if DEBIAN.is_dir() else Path("/etc/exim")
        return self.allowlist.file or beside / "relay_from_certs"

    @property
    def allowed(self) -> Path:
        """The directory of the directory form."""
        return self.state.directory / "allowed"


def parse(text: str, file: Path = DEFAULT_FILE, tables: Collection[str] = ()) -> Config:
    """Return the configuration that ``text`` holds. Raises SettingsError with every mistake in it.

    tables: the tables that concern the program, all if empty; what the others hold is not looked at.
    """
    try:
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None
    mistakes: list[str] = []
    values: dict[str, Any] = {}
    for name, table in given.items():
        if name not in _KEYS:
            mistakes += [] if tables else [f"{file}: [{name}]: no such section; there are {', '.join(_KEYS)}"]
        elif not isinstance(table, dict):
            mistakes.append(f"{file}: {name}: expected a section [{name}], not a value")
        elif not tables or name in tables:
            values[name] = Config._field_defaults[name]._replace(**_table(f"{file}: [{name}]", name, table, mistakes))
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return Config(file, **values)


def decode(raw: bytes, file: Path, tables: Collection[str] = ()) -> Config:
    """Do what parse does, for the bytes of a file. Raises SettingsError."""
    if len(raw) > LARGEST_FILE:
        raise SettingsError(f"{file}: larger than {LARGEST_FILE} bytes: this is no configuration file")
    try:
        return parse(raw.decode(), file, tables)
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: not UTF-8 text") from None


def _table(where: str, name: str, table: dict[str, Any], mistakes: list[str]) -> dict[str, Any]:
    """Return the valid values of a table; the others are added to the mistakes."""
    values = {}
    for key, value in table.items():
        if (name, key) in _REMOVED:
            mistakes.append(f"{where} {key}: {_REMOVED[name, key]}")
        elif key not in _KEYS[name]:
            mistakes.append(f"{where} {key}: no such key; there are {', '.join(_KEYS[name])}")
        else:
            try:
                values[key] = _KEYS[name][key](value)
            except ValueError as error:
                mistakes.append(f"{where} {key} = {str(value)[:60]!a}: expected {error}")
    return values


def _text(pattern: str, expected: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or not re.fullmatch(pattern, value):
            raise ValueError(expected)
        return value

    return check


def _path(pattern: str, expected: str) -> Callable[[Any], Path]:
    text = _text(pattern, expected)

    def check(value: Any) -> Path:
        path = Path(text(value))
        if ".." in path.parts:
            raise ValueError(expected)
        return path

    return check


def _number(lowest: int, highest: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not lowest <= value <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return value

    return check


def duration(value: Any) -> timedelta:
    """Return a time such as "90d", "12h", "5min" or "2s". Raises ValueError for any other value."""
    found = re.fullmatch(r"(\d{1,6}) ?(s|min|h|d)", value, re.ASCII) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a time such as "90d", "12h", "5min" or "2s"')
    return int(found[1]) * timedelta(seconds={"s": 1, "min": 60, "h": 3600, "d": 86400}[found[2]])


def _groups(value: Any) -> tuple[str, ...]:
    group = _text(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", "the name of a group, or a list of such names")
    return tuple(map(group, value if isinstance(value, list) else [value]))


def _choice(*choices: str) -> Callable[[Any], str]:
    return _text("|".join(choices), " or ".join(f'"{choice}"' for choice in choices))


_ANY_PATH: Final = _path("/.*", 'an absolute path without ".."')
_PLAIN_PATH: Final = _path(
    r"(/[A-Za-z0-9._+-]+)+", "an absolute path of letters, digits and . _ + - without .."
)  # it becomes part of Exim's configuration, or of messages about it
_VIA: Final = _text("socket:/.+|command:.+", '"socket:/PATH" or "command:PROGRAM"')
_KEYS: Final[dict[str, dict[str, Callable[[Any], Any]]]] = {
    "log": {
        "source": _choice("file", "journal"),
        "path": _ANY_PATH,
        "message": _text(r"[!-~]([ -~]*[!-~])?", "the ASCII text of the ACL's logwrite up to the fingerprint"),
    },
    "certificates": {"directory": _ANY_PATH, "expires_within": duration},
    "allowlist": {
        "macro": _text(
            r"(?![A-F][A-F0-9]*\Z)[A-Z][A-Za-z0-9_]{0,62}",
            "the name of an Exim macro: an upper-case letter, then letters, digits and _, not all of them hex digits",
        ),
        "file": _PLAIN_PATH,
        "form": _choice("auto", "list", "directory"),
        "list_limit": _number(1, 100_000),
        "drop_expired_after": duration,
    },
    "exim": dict.fromkeys(("binary", "config", "pid_file"), _PLAIN_PATH) | {"reload": _choice("signal", "none")},
    "state": {"directory": _PLAIN_PATH},
    "control": {"socket": _ANY_PATH, "readers": _groups, "approvers": _groups},
    "publish": dict.fromkeys(("via", "reload_via"), _VIA) | {
        "max_fingerprints": _number(1, 1_000_000),
        "min_interval": duration,
        "max_shrink": _number(0, 100),
    },
    "queue": {"unmatched_limit": _number(1, 10_000_000), "forget_pending_after": duration},
}  # fmt: skip
_ON_DEAD: Final = "removed: let systemd restart Exim, by Restart=on-failure in a drop-in; see eximcertd(8)"
_REMOVED: Final = {("publish", "on_dead"): _ON_DEAD}
