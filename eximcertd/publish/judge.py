"""Asking Exim itself whether its WHOLE configuration passes and the macro says what was meant.

A candidate is judged before it is live: in a mount namespace of its own the child sees it in place of the live
file, while every other process still sees the live one. ``exim -bV`` reads the configuration; ``exim -bP
macros`` tells what it makes of the macro (Exim specification, chapter "The Exim command line").
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import re
import secrets
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import is_exact
from eximcertd.publish.old_request import FAILED
from eximcertd.publish.process import configuration_file
from eximcertd.publish.run import Said, run
from eximcertd.publish.safely import open_directory
from eximcertd.publish.stop import Stop, failed, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.publish.settings import Settings

LIMIT: Final = 30.0
"""Seconds that Exim may take to read its configuration."""

_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
_OPTIONS: Final = (
    "exim_user", "exim_group", "pid_file_path", "spool_directory", "daemon_smtp_ports", "local_interfaces",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What Exim says of itself. user: user id, group id, groups. seconds: what reading its configuration took."""

    user: tuple[int, int, list[int]]
    pid_file: Path
    ports: str
    interfaces: str
    configuration: str
    seconds: float


class NoNamespaceError(Exception):
    """This process may not make a mount namespace."""


def _put_in_place(candidate: Path, live: Path) -> Callable[[], None]:
    """Return what a child does to see the candidate in place of the live file, alone in the world."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments) != 0:
            raise OSError(ctypes.get_errno(), name)

    def child() -> None:
        call("unshare", _CLONE_NEWNS)
        call("mount", None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
        call("mount", bytes(candidate), bytes(live), None, ctypes.c_ulong(_MS_BIND), None)

    return child


def can_have_namespace() -> bool:
    """Tell whether this process may have a mount namespace to itself.

    Root may, unless its service or container took that away; in a chroot, whose / is no mount, it cannot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        private = ctypes.c_ulong(_MS_REC | _MS_PRIVATE)
        os._exit(0 if libc.unshare(_CLONE_NEWNS) == 0 and libc.mount(None, b"/", None, private, None) == 0 else 1)
    return os.waitpid(child, 0)[1] == 0


def judge(settings: Settings, value: str | None, candidate: Path | None) -> Facts:
    """Return what Exim says of itself, if its whole configuration passes and the macro is ``value``.

    candidate: the file to judge in place of the live one, None: judge what is live. Raises Stop with Exim's own
    words, and NoNamespaceError.
    """
    first = None if candidate is None else _put_in_place(candidate, settings.file)
    exim = [str(settings.program), *(["-C", str(settings.config)] if settings.config else [])]
    try:
        checked = run([*exim, "-bV"], LIMIT, first=first)
        if checked.status != 0:
            raise _told("does not accept its configuration", checked)
        said = run([*exim, "-bP", *_OPTIONS, "macros"], LIMIT, first=first)
    except subprocess.SubprocessError:
        if can_have_namespace():
            raise failed(f"{candidate} could not be mounted over {settings.file} to be judged") from None
        raise NoNamespaceError from None
    if said.status != 0:
        raise _told("does not print its settings", said)
    options = dict(re.findall(r"^([a-z_]+) = (.*)$", said.out, re.MULTILINE))
    macros = dict(re.findall(r"^([A-Z_][A-Za-z0-9_]*)=(.*)$", said.out, re.MULTILINE))
    if not {"exim_user", "pid_file_path", "spool_directory"} <= options.keys():
        raise _told("prints nonsense when asked for its settings (is it Exim?)", said)
    _compare(settings, value, macros)
    return Facts(
        _user(options["exim_user"], options.get("exim_group", "")),
        settings.pid_file or Path(options["pid_file_path"].replace("%s", options["spool_directory"])),
        options.get("daemon_smtp_ports", ""),
        options.get("local_interfaces", ""),
        configuration_file(checked.out),
        checked.seconds,
    )


def _told(what: str, said: Said) -> Stop:
    return failed(f"Exim {what} (status {said.status}); it was not signalled", said.words())


def _compare(settings: Settings, value: str | None, macros: dict[str, str]) -> None:
    """Raise Stop unless the macro means ``value``, where it is defined and wherever it is used.

    Exim puts the value of any macro for its name, anywhere in a line: what was defined before rewrites our
    definition, and what is defined after it rewrites each use, which no value shows.
    """
    name = settings.macro
    if value is None or name not in macros:
        raise failed(f"Exim does not know the macro {name}: does its configuration .include {settings.file}?")
    if value:
        for other, text in macros.items():
            if other != name and other in value and text != other:
                raise Stop(
                    FAILED,
                    f"the macro {other} of Exim's configuration rewrites every fingerprint or path that contains its "
                    f"name: rename it, or use the directory form",
                    rewritten_by=other,
                )
    if macros[name].strip() != value:
        raise failed(
            f"Exim has another value for {name} than {settings.file} gives it: is this the file that its "
            "configuration includes, and is the macro defined nowhere else?",
            shown(macros[name], 300),
        )


def _user(user: str, group: str) -> tuple[int, int, list[int]]:
    try:
        found = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        gid = found.pw_gid if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise failed(f"Exim's user {shown(user)} or group {shown(group)} is unknown to this machine") from None
    return found.pw_uid, gid, os.getgrouplist(found.pw_name, gid)


def judge_directory(settings: Settings, facts: Facts) -> None:
    """Raise Stop unless Exim, as its own user, finds a fingerprint that is in the directory and misses another."""
    allowed = settings.allowed
    os.close(open_directory(allowed.parent))
    if not stat.S_ISDIR(allowed.lstat().st_mode):
        raise failed(f"{allowed} is no directory: every verified client would get a temporary error")
    with os.scandir(allowed) as entries:
        inside = next(
            (entry.name for entry in entries if is_exact(entry.name) and entry.is_file(follow_symlinks=False)), None
        )
    outside = secrets.token_hex(32).upper()
    lookup = "${{lookup{{${{uc:{}}}}}dsearch,filter=file,cache=no_rd{{{}}}{{in}}{{out}}}}"
    # in lower case, which no macro's name can be part of
    wanted = [(name.lower(), answer) for name, answer in ((inside, "in"), (outside, "out")) if name]
    said = run(
        [
            str(settings.program),
            *(["-C", str(settings.config)] if settings.config else []),
            "-be",
            *(lookup.format(name, allowed) for name, _answer in wanted),
        ],
        LIMIT,
        user=facts.user if os.geteuid() == 0 else None,
    )
    if said.status != 0 or said.out.split() != [answer for _name, answer in wanted]:
        raise failed(
            f"Exim's user cannot look fingerprints up in {allowed}: every verified client would get a temporary error; "
            "the directory needs mode 0755, and its parents 0711 or more",
            Said(said.status, "", said.out + said.err, 0).words(),
        )


def honoured(allowed: Path) -> set[str]:
    """Return the fingerprints for which the directory has a file, as Exim counts them; none without a directory."""
    try:
        with os.scandir(allowed) as entries:
            return {entry.name for entry in entries if is_exact(entry.name) and entry.is_file(follow_symlinks=False)}
    except FileNotFoundError:
        return set()
