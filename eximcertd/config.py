"""The configuration file: TOML, every mistake in it reported at once.

Keys that are left out are None where Exim can be asked for the value (eximcertd.exim.settings), and have their
default otherwise. etc/eximcertd.toml in the source tree shows every key.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from eximcertd.errors import ConfigurationError
from eximcertd.log.line import DEFAULT_MESSAGE

DEFAULT_FILE: Final = Path("/etc/eximcertd/eximcertd.toml")
LARGEST_FILE: Final = 1 << 20

_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Log:
    """[log]: where rejections come from. path None: ask Exim."""

    source: str = "file"
    path: Path | None = None
    message: str = DEFAULT_MESSAGE


@dataclass(frozen=True, slots=True)
class Certificates:
    """[certificates]: the directory whose certificates Exim trusts, and when to warn of their end."""

    directory: Path = Path("/etc/ssl/certs")
    expires_within: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Allowlist:
    """[allowlist]: the macro, its file and the form it is written in. file None: beside Exim's configuration."""

    macro: str = "RELAY_FROM_CERTS"
    file: Path | None = None
    form: str = "auto"
    list_limit: int = 1000
    drop_expired_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Exim:
    """[exim]: the program to ask and to signal. None: found on this machine, or asked of Exim."""

    binary: Path | None = None
    config: Path | None = None
    pid_file: Path | None = None
    reload: str = "signal"


@dataclass(frozen=True, slots=True)
class State:
    """[state]: the directory that holds ledger/ and allowed/."""

    directory: Path = Path("/var/lib/eximcertd")


@dataclass(frozen=True, slots=True)
class Control:
    """[control]: the control socket and the groups that may read and approve; root always may."""

    socket: Path = Path("/run/eximcertd/control")
    readers: tuple[str, ...] = ("eximcertd",)
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Publish:
    """[publish]: how root's part is reached, and what it allows. max_shrink: percent of the list.

    The limits are read by eximcertd-publish itself; they stand here so that a mistake in them is told.
    """

    via: str = "socket:/run/eximcertd-publish"
    on_dead: str = "report"
    max_fingerprints: int = 100_000
    min_interval: timedelta = timedelta(seconds=1)
    max_shrink: int = 50


@dataclass(frozen=True, slots=True)
class Queue:
    """[queue]: what bounds the ledger."""

    unmatched_limit: int = 10_000
    forget_pending_after: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; file: where it was read from."""

    file: Path = DEFAULT_FILE
    log: Log = field(default_factory=Log)
    certificates: Certificates = field(default_factory=Certificates)
    allowlist: Allowlist = field(default_factory=Allowlist)
    exim: Exim = field(default_factory=Exim)
    state: State = field(default_factory=State)
    control: Control = field(default_factory=Control)
    publish: Publish = field(default_factory=Publish)
    queue: Queue = field(default_factory=Queue)


class _MistakeError(ValueError):
    """One mistake: what was expected, as a clause."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise _MistakeError("expected a text of printable characters")
    return value


def _path(value: Any) -> Path:
    text = _text(value)
    if not text.startswith("/") or ".." in Path(text).parts:
        raise _MistakeError('expected an absolute path without ".."')
    return Path(text)


def _message(value: Any) -> str:
    text = _text(value)
    if not text.isascii() or text != text.strip():
        raise _MistakeError("expected the ASCII text of the ACL's logwrite up to the fingerprint, without outer blanks")
    return text


def _macro(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Z][A-Za-z0-9_]*", text) or re.fullmatch(r"[A-F]+[0-9A-F]*", text):
        raise _MistakeError("expected the name of an Exim macro: an upper-case letter, then letters, digits and _")
    return text


def _one_of(*choices: str) -> Any:
    def check(value: Any) -> str:
        if value not in choices:
            raise _MistakeError("expected " + " or ".join(f'"{choice}"' for choice in choices))
        return str(value)

    return check


def _number(lowest: int, highest: int) -> Any:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise _MistakeError(f"expected a whole number from {lowest} to {highest}")
        return value

    return check


def _duration(value: Any) -> timedelta:
    found = re.fullmatch(r"(\d{1,6}) ?(s|min|h|d)", value) if isinstance(value, str) else None
    if found is None:
        raise _MistakeError('expected a time such as "90d", "12h", "5min" or "2s"')
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _groups(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(
        isinstance(name, str) and re.fullmatch(r"[a-z_][a-z0-9_.-]{0,31}", name, re.IGNORECASE) for name in names
    ):
        raise _MistakeError("expected the name of a group, or a list of such names")
    return tuple(names)


def _via(value: Any) -> str:
    text = _text(value)
    kind, _, target = text.partition(":")
    if kind == "socket" and target.startswith("/"):
        return text
    if kind == "command" and target:
        return text
    raise _MistakeError('expected "socket:/PATH" or "command:PROGRAM"')


_KEYS: Final[dict[str, tuple[type, dict[str, Any]]]] = {
    "log": (Log, {"source": _one_of("file", "journal"), "path": _path, "message": _message}),
    "certificates": (Certificates, {"directory": _path, "expires_within": _duration}),
    "allowlist": (
        Allowlist,
        {
            "macro": _macro,
            "file": _path,
            "form": _one_of("auto", "list", "directory"),
            "list_limit": _number(1, 100_000),
            "drop_expired_after": _duration,
        },
    ),
    "exim": (
        Exim,
        {"binary": _path, "config": _path, "pid_file": _path, "reload": _one_of("signal", "none")},
    ),
    "state": (State, {"directory": _path}),
    "control": (Control, {"socket": _path, "readers": _groups, "approvers": _groups}),
    "publish": (
        Publish,
        {
            "via": _via,
            "on_dead": _one_of("report", "restart"),
            "max_fingerprints": _number(1, 1_000_000),
            "min_interval": _duration,
            "max_shrink": _number(0, 100),
        },
    ),
    "queue": (Queue, {"unmatched_limit": _number(1, 10_000_000), "forget_pending_after": _duration}),
}


def parse(text: str, file: Path = DEFAULT_FILE) -> Config:
    """Return the configuration that ``text`` says. Raises ConfigurationError with every mistake in it."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file}: not TOML: {error}") from error
    wrong: list[str] = []
    sections: dict[str, Any] = {}
    for name, given in table.items():
        if name not in _KEYS:
            wrong.append(f"{file}: [{name}]: no such section; there are {', '.join(_KEYS)}")
        elif not isinstance(given, dict):
            wrong.append(f"{file}: {name}: expected a section [{name}], not a value")
        else:
            sections[name] = _section(file, name, given, wrong)
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return Config(file=file, **sections)


def _section(file: Path, name: str, given: dict[str, Any], wrong: list[str]) -> Any:
    kind, checks = _KEYS[name]
    values = {}
    for key, value in given.items():
        if key not in checks:
            known = ", ".join(entry.name for entry in fields(kind))
            wrong.append(f"{file}: [{name}] {key}: no such key; there are {known}")
            continue
        try:
            values[key] = checks[key](value)
        except _MistakeError as error:
            wrong.append(f"{file}: [{name}] {key} = {str(value)[:60]!r}: {error}")
    return kind(**values)


def load(file: Path) -> Config:
    """Read a configuration file. A missing default file is an empty one. Raises ConfigurationError."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        if file == DEFAULT_FILE:
            return Config()
        raise ConfigurationError(f"{file}: there is no such file") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
    if len(raw) > LARGEST_FILE:
        raise ConfigurationError(f"{file}: larger than {LARGEST_FILE} bytes: this is no configuration file")
    try:
        return parse(raw.decode(), file)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: not UTF-8 text") from None
