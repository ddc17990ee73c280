"""Owner and mode of every file that matters, and who can read what he must."""

from __future__ import annotations

import grp
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import Line, bad, good, odd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.cli.check.access import User
    from eximcertd.config import Config
    from eximcertd.errors import EximcertdError

_QUIET: Final = 2 * 86_400
"""Seconds after which a log that does not grow is odd."""

_MOST_NAMED: Final = 3
_EVERYBODY: Final = 0o666


def only_root_writes(path: Path, what: str) -> Iterator[Line]:
    """Say whether nobody but root could have written a file, every parent included.

    A sticky directory such as /tmp is a safe parent.
    """
    try:
        wrong = [one for one in (path, *path.parents) if _loose(one)]
    except FileNotFoundError:
        yield bad(f"{what} {path} is not there", "eximcertd writes it: see eximcertctl status for why it has not")
        return
    except OSError as error:
        yield odd(f"{path} cannot be looked at: {error.strerror}")
        return
    if wrong:
        yield bad(
            f"others than root can write {wrong[0]}, and with it {what}: whoever can, runs programs as root",
            f"chown root {wrong[0]} && chmod go-w {wrong[0]}",
        )
    else:
        yield good(f"{what} {path} can be written by root alone")


def state(config: Config, service: User | None, exim: User | None) -> Iterator[Line]:
    """Say whether the state directory is as both eximcertd and Exim need it."""
    directory = config.state.directory
    allowed = directory / "allowed"
    if not allowed.is_dir():
        yield bad(f"{allowed} is not there", "start eximcertd: it makes it")
        return
    owner = directory.stat()
    if owner.st_uid != 0 or stat.S_IMODE(owner.st_mode) & 0o022:
        yield odd(
            f"{directory} does not belong to root alone: eximcertd, taken over, could put a link in allowed/'s place",
            f"chown root:root {directory} && chmod 0755 {directory}",
        )
    if exim is not None and os.geteuid() == 0:
        if exim.may("r", allowed) and exim.may("x", allowed):
            yield good(f"Exim's user {exim.name} can read {allowed}")
        else:
            yield bad(
                f"Exim's user {exim.name} cannot read {allowed}: in the directory form every verified client gets 451",
                f"chmod 0755 {allowed}, and 0711 at least for each directory above it",
            )
    if service is not None and os.geteuid() == 0 and not service.may("w", allowed):
        yield bad(f"eximcertd's user {service.name} cannot write {allowed}", f"chown {service.name} {allowed}")
    ledger = directory / "ledger"
    if ledger.is_dir() and stat.S_IMODE(ledger.stat().st_mode) & 0o077:
        yield odd(f"others can look into {ledger}", f"chmod 0700 {ledger}")


def certificates(directory: Path, exim: User | None) -> Iterator[Line]:
    """Say whether Exim can read the directory of certificates and the files in it."""
    if not directory.is_dir():
        yield bad(f"there is no directory {directory}", "see [certificates] directory")
        return
    if exim is not None and os.geteuid() == 0:
        if not (exim.may("r", directory) and exim.may("x", directory)):
            yield bad(
                f"Exim's user {exim.name} cannot read {directory}: it verifies no client", f"chmod 0755 {directory}"
            )
            return
        yield good(f"Exim's user {exim.name} can read {directory}")
    hidden, loose = [], []
    for entry in os.scandir(directory):
        try:
            mode = entry.stat().st_mode
        except OSError:
            continue  # a dangling link is nothing to Exim either
        if stat.S_ISREG(mode):
            hidden += [entry.name] if not mode & 0o004 else []
            loose += [entry.name] if mode & 0o002 else []
    if hidden:
        yield odd(f"not everybody can read {_names(hidden)} in {directory}", "Exim trusts what its user can read")
    if loose:
        yield bad(f"everybody can write {_names(loose)} in {directory}", "chmod o-w these files")


def log(path: Path, service: User | None) -> Iterator[Line]:
    """Say whether the log can be read by eximcertd, and whether it grows."""
    if not path.exists():
        what = "Exim makes it with its next line" if path.parent.is_dir() else "nor the directory: see [log] path"
        yield odd(f"the log {path} is not there", what)
        return
    if service is not None and os.geteuid() == 0:
        if not service.may("r", path):
            group = _group(path)
            yield bad(
                f"eximcertd's user {service.name} cannot read the log {path}",
                f"let it into the group that can ({group}): SupplementaryGroups={group} in its service",
            )
            return
        yield good(f"eximcertd's user {service.name} can read the log {path}")
    quiet = time.time() - path.stat().st_mtime
    if quiet > _QUIET:
        yield odd(
            f"nothing was written to the log {path} for {quiet / 86_400:.0f} days", "is it the log that Exim writes?"
        )


def socket(path: Path) -> Iterator[Line]:
    """Say whether everybody can reach the control socket."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # eximcertd does not answer, and that has been said
    if mode & _EVERYBODY != _EVERYBODY:
        yield odd(f"not everybody can connect to {path}, so that members of its groups may not reach it")


def groups(config: Config) -> Iterator[Line]:
    """Say who may do what, and whether these groups are there."""
    for key, names in (("readers", config.control.readers), ("approvers", config.control.approvers)):
        missing = [name for name in names if not _is_group(name)]
        if missing:
            yield bad(f"[control] {key}: there is no group {', '.join(missing)}", "addgroup --system NAME")
    may = "root alone" if not config.control.approvers else f"root and group {', '.join(config.control.approvers)}"
    yield good(f"{may} may approve")


def publisher(config: Config) -> Iterator[Line]:
    """Say whether root's part can be reached."""
    kind, _, target = config.publish.via.partition(":")
    if kind != "socket":
        yield good(f"root's part is run as the command {target}")
        return
    try:
        there = stat.S_ISSOCK(Path(target).stat().st_mode)
    except OSError:
        there = False
    if there:
        yield good(f"root's part listens at {target}")
    else:
        yield bad(f"root's part does not listen at {target}", "systemctl enable --now eximcertd-publish.socket")


def daemon(settings: dict[str, str], pid_file: Path | None) -> Line:
    """Say whether Exim's daemon runs, by its pid file."""
    spool = settings.get("spool_directory") or "/var/spool/exim"
    path = pid_file or Path(settings.get("pid_file_path") or f"{spool}/exim-daemon.pid")
    try:
        pid = int(path.read_text(encoding="ascii"))
        name = Path("/proc", str(pid), "comm").read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        pid, name = 0, ""
    except (OSError, ValueError) as error:
        return odd(f"Exim's pid file {path} cannot be read: {error}", "see [exim] pid_file")
    if name.startswith("exim"):
        return good(f"Exim's daemon runs (process {pid})")
    return odd(
        f"no Exim daemon runs, as far as {path} tells",
        "start it, unless Exim is started for each connection; see [exim] pid_file",
    )


def spell(error: EximcertdError) -> Line:
    """Return what an error says, as a finding."""
    return bad(error.message, error.hint)


def _loose(path: Path) -> bool:
    there = path.lstat()
    mode = stat.S_IMODE(there.st_mode)
    sticky = stat.S_ISDIR(there.st_mode) and mode & stat.S_ISVTX
    return there.st_uid != 0 or (bool(mode & 0o022) and not sticky) or stat.S_ISLNK(there.st_mode)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(sorted(names)[:_MOST_NAMED]) + more


def _group(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except KeyError:
        return str(path.stat().st_gid)


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
