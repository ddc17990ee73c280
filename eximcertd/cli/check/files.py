"""Owner and mode of every file that matters, and whether the users who need a file can read it."""

from __future__ import annotations

import grp
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import CheckLine, error, ok, unknown, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.cli.check.access import User
    from eximcertd.settings import Config

_QUIET: Final = 2 * 86_400
"""Seconds without a new line after which a log gets a warning."""

_MOST_NAMED: Final = 3
_EVERYBODY: Final = 0o666
_GENCERT: Final = "/usr/share/doc/exim4-base/examples/exim-gencert"


def only_root_writes(path: Path, what: str, make: str) -> Iterator[CheckLine]:
    """Say whether only root can have written a file, every parent included. A sticky directory is a safe parent.

    make: what to do if the file does not exist.
    """
    try:
        wrong = [one for one in (path, *path.parents) if _loose(one)]
    except FileNotFoundError:
        yield error(f"{what} {path} does not exist", make)
        return
    except OSError:
        yield unknown(f"the owner of {path}")
        return
    if wrong:
        yield error(
            f"users other than root can write {wrong[0]}, and with it {what}: they can run programs as root",
            f"chown root {wrong[0]} && chmod go-w {wrong[0]}",
        )
    else:
        yield ok(f"only root can write {what} {path}")


def state(config: Config, service: User | None, exim: User | None) -> Iterator[CheckLine]:
    """Say whether the state directory is as eximcertd and Exim need it."""
    directory, allowed = config.state.directory, config.allowed
    if not allowed.is_dir():
        yield error(f"{allowed} does not exist", "start eximcertd, which makes it")
        return
    owner = directory.stat()
    if owner.st_uid != 0 or stat.S_IMODE(owner.st_mode) & 0o022:
        yield warning(
            f"{directory} does not belong to root alone: a taken-over eximcertd could replace allowed/ by a link",
            f"chown root:root {directory} && chmod 0755 {directory}",
        )
    ledger = directory / "ledger"
    if ledger.is_dir() and stat.S_IMODE(ledger.stat().st_mode) & 0o077:
        yield warning(f"other users can look into {ledger}", f"chmod 0700 {ledger}")
    if os.geteuid() != 0:
        yield unknown(f"who can read {allowed}")
        return
    for made, who in (
        (allowed, "in the directory form every verified client"),
        (directory / "authorities", "where the ACL looks twice, each new client"),
    ):
        if exim is not None and made.is_dir():
            if exim.may("r", made) and exim.may("x", made):
                yield ok(f"Exim's user {exim.name} can read {made}")
            else:
                yield error(
                    f"Exim's user {exim.name} cannot read {made}: {who} gets 451",
                    f"chmod 0755 {made}, and 0711 or more for each directory above it",
                )
        if service is not None and made.is_dir() and not service.may("w", made):
            yield error(f"eximcertd's user {service.name} cannot write {made}", f"chown {service.name} {made}")


def certificates(directory: Path, exim: User | None) -> Iterator[CheckLine]:
    """Say whether Exim can read the directory of certificates and the files in it."""
    if not directory.is_dir():
        yield error(
            f"there is no directory {directory}", "make it, or set [certificates] directory to the one that Exim reads"
        )
        return
    if os.geteuid() != 0:
        yield unknown(f"whether Exim's user can read {directory}")
    elif exim is not None:
        if not (exim.may("r", directory) and exim.may("x", directory)):
            yield error(
                f"Exim's user {exim.name} cannot read {directory}: it verifies no client", f"chmod 0755 {directory}"
            )
            return
        yield ok(f"Exim's user {exim.name} can read {directory}")
    hidden, loose = [], []
    for entry in os.scandir(directory):
        try:
            mode = entry.stat().st_mode
        except OSError:
            continue  # a dangling link: Exim does not read it either
        if stat.S_ISREG(mode):
            hidden += [entry.name] if not mode & 0o004 else []
            loose += [entry.name] if mode & 0o002 else []
    if hidden:
        yield warning(
            f"not every user can read {_names(hidden)} in {directory}: Exim trusts only what its user can read",
            "chmod o+r these files",
        )
    if loose:
        yield error(f"every user can write {_names(loose)} in {directory}", "chmod o-w these files")


def own_certificate(certificate: str, key: str, exim: User | None) -> Iterator[CheckLine]:
    """Say whether Exim's user can read Exim's own certificate and key, given as Exim expands the two options."""
    if not certificate:
        return
    if os.geteuid() != 0 or exim is None:
        yield unknown("whether Exim's user can read its TLS certificate and key")
        return
    wrong = False
    for name, value in (("tls_certificate", certificate), ("tls_privatekey", key or certificate)):
        for path in [Path(item.strip()) for item in value.split(":") if item.strip()]:
            exists = path.exists()
            if exists and exim.may("r", path):
                continue
            wrong = True
            what = f"cannot be read by Exim's user {exim.name}" if exists else "does not exist"
            make = f"make it ({_GENCERT})" if Path(_GENCERT).exists() else "make it"
            yield error(
                f"{name} = {path} {what}: Exim answers STARTTLS with 454",
                f"chgrp {_group_name(exim.gid)} {path} && chmod 0640 {path}" if exists else make,
            )
    if not wrong:
        yield ok(f"Exim's user {exim.name} can read Exim's certificate and key")


def log(path: Path, service: User | None) -> Iterator[CheckLine]:
    """Say whether eximcertd can read the log, and whether it grows."""
    try:
        status = path.stat()
    except PermissionError:
        yield unknown(f"the log {path}")
        return
    except OSError:
        what = "Exim creates it with its next line" if path.parent.is_dir() else "set [log] path to Exim's main log"
        yield warning(f"the log {path} does not exist", what)
        return
    if os.geteuid() != 0:
        yield unknown(f"whether eximcertd can read {path}")
    elif service is not None:
        if not service.may("r", path):
            group = _group_name(status.st_gid)
            yield error(
                f"eximcertd's user {service.name} cannot read the log {path}",
                f"add SupplementaryGroups={group} to eximcertd.service (systemctl edit eximcertd)",
            )
            return
        yield ok(f"eximcertd's user {service.name} can read the log {path}")
    quiet = time.time() - status.st_mtime
    if quiet > _QUIET:
        yield warning(
            f"nothing was written to the log {path} for {quiet / 86_400:.0f} days",
            "if Exim writes another one (exim -bP log_file_path), set [log] path to it",
        )


def socket(path: Path) -> Iterator[CheckLine]:
    """Say whether every user can connect to the control socket."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # eximcertd does not answer: that is a line of its own
    if mode & _EVERYBODY != _EVERYBODY:
        yield warning(
            f"not every user can connect to {path}: members of its groups may not reach it", f"chmod 0666 {path}"
        )


def part(key: str, via: str, program: str) -> CheckLine:
    """Say whether one of the two other programs can be reached. key: of the configuration. via: its value."""
    kind, _, target = via.partition(":")
    if kind != "socket":
        return ok(f"{program} is run as a command ({target})")
    try:
        there = stat.S_ISSOCK(Path(target).stat().st_mode)
    except OSError:
        there = False
    if there:
        return ok(f"{program} listens at {target}")
    return error(f"{program} does not listen at {target} ([publish] {key})", f"systemctl enable --now {program}.socket")


def _loose(path: Path) -> bool:
    there = path.lstat()
    mode = stat.S_IMODE(there.st_mode)
    sticky = stat.S_ISDIR(there.st_mode) and mode & stat.S_ISVTX
    return there.st_uid != 0 or (bool(mode & 0o022) and not sticky) or stat.S_ISLNK(there.st_mode)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(sorted(names)[:_MOST_NAMED]) + more


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
