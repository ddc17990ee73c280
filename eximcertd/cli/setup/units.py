"""``eximcertctl setup --units``: what a distribution's package installs beside the programs, after ``pip install``.

The units, the user, the journal's catalog and the manual pages go below /usr/local, the configuration to
/etc/eximcertd, and drop-ins to /etc/systemd/system where this machine's Exim differs from what the units expect.
"""

from __future__ import annotations

import grp
import re
import stat
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import eximcertd
from eximcertd.cli.changeset import Change
from eximcertd.cli.check.files import only_root_writes
from eximcertd.cli.check.finding import Verdict
from eximcertd.cli.steps import read
from eximcertd.config import DEFAULT_FILE
from eximcertd.errors import EximcertdError
from eximcertd.exim.run import run
from eximcertd.log.choose import main_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.cli.changeset import Changeset
    from eximcertd.cli.setup.site import Site
    from eximcertd.settings import Config

RECORD: Final = Path("/etc/eximcertd/units.json")
"""What ``setup --units`` wrote, for ``--undo``; see cli/changeset.py."""
_LOCAL: Final = Path("/usr/local")
_SYSUSERS: Final = _LOCAL / "lib/sysusers.d/eximcertd.conf"
_PLACES: Final = {
    ".service": _LOCAL / "lib/systemd/system",
    ".socket": _LOCAL / "lib/systemd/system",
    ".catalog": _LOCAL / "lib/systemd/catalog",
}
_DROP_INS: Final = Path("/etc/systemd/system")
_OF_PACKAGES: Final = (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
_UNITS: Final = (
    "eximcertd.service",
    "eximcertd-publish.socket",
    "eximcertd-reload.socket",
    "eximcertd-mail.socket",
    "eximcertd-fleet.service",
)
_HIDDEN: Final = ("/home", "/root", "/run", "/tmp", "/var/tmp")  # noqa: S108 - what the units' sandboxes hide
_LIMIT: Final = 150.0
"""Seconds, TimeoutStartSec= of eximcertd.service."""


class Shared(NamedTuple):
    """Where the files to install are. manuals: holds the manual pages, in directories or not."""

    units: Path
    configuration: Path
    manuals: Path


def shared() -> Shared | None:
    """Return where pip has put the files (or where they are in a source tree), None if there are none."""
    prefix, tree = Path(sys.prefix), Path(eximcertd.__file__).parents[1]
    for one in (
        Shared(prefix / "share/eximcertd/systemd", prefix / "share/eximcertd/eximcertd.toml", prefix / "share/man"),
        Shared(tree / "packaging/systemd", tree / "etc/eximcertd.toml", tree / "docs/man"),
    ):
        if one.units.is_dir():
            return one
    return None


def changes(site: Site, config: Config, changeset: Changeset) -> list[Change]:
    """Return what to write. Raises EximcertdError."""
    found, ours = shared(), list(drop_ins(site, config))
    if found is not None:
        _verify_programs()
        ours += _installed(found)
        if config.file == DEFAULT_FILE and changeset.without_us(DEFAULT_FILE) is None:
            ours += changeset.standing(DEFAULT_FILE) or [Change(DEFAULT_FILE, found.configuration.read_text("utf-8"))]
    elif not any((directory / _UNITS[0]).exists() for directory in _OF_PACKAGES):
        raise EximcertdError(
            "the units of eximcertd are neither here nor installed by a package",
            hint="install eximcertd with pip, or as a package of the distribution",
        )
    return [change for change in ours if changeset.without_us(change.path) != change.text]


def _installed(found: Shared) -> Iterator[Change]:
    programs = sysconfig.get_path("scripts")
    for file in sorted(found.units.iterdir()):
        text = file.read_text("utf-8")
        if file.suffix == ".sysusers":
            yield Change(_SYSUSERS, text)
        elif file.suffix in _PLACES:
            text = text.replace("=/usr/bin/eximcertd", f"={programs}/eximcertd")
            yield Change(_PLACES[file.suffix] / file.name, text)
    for file in sorted(found.manuals.rglob("eximcert*.[58]")):
        yield Change(_LOCAL / "share/man" / f"man{file.suffix[1:]}" / file.name, file.read_text("utf-8"))


def drop_ins(site: Site, config: Config) -> Iterator[Change]:
    """Yield the drop-ins for what the units do not expect: Exim's user, its directory, the group of its log.

    None if there are no units. Raises EximcertdError.
    """
    user = _expected("eximcertd-reload@.service", "User")
    if not user:
        return
    if site.user != user:
        yield _drop_in("eximcertd-reload@.service", "exim-user", f"User={site.user}\nGroup={site.group}\n")
    directory = str(config.macro_file.parent)
    writable = _expected("eximcertd-publish@.service", "ReadWritePaths").split()
    if directory not in [path.lstrip("-") for path in writable]:
        yield _drop_in("eximcertd-publish@.service", "macro-file", f"ReadWritePaths=-{directory}\n")
    group = _group_of_log(config)
    if group not in {None, _expected("eximcertd.service", "SupplementaryGroups")}:
        yield _drop_in("eximcertd.service", "log-group", f"SupplementaryGroups=\nSupplementaryGroups={group}\n")


def missing_drop_ins(site: Site, config: Config) -> bool:
    """Tell whether a drop-in that is needed is not there. Raises EximcertdError."""
    return any(read(change.path) != change.text for change in drop_ins(site, config))


def _drop_in(unit: str, name: str, lines: str) -> Change:
    head = '# Written by "eximcertctl setup --units"; "eximcertctl setup --units --undo" removes it.\n'
    return Change(_DROP_INS / f"{unit}.d" / f"{name}.conf", f"{head}[Service]\n{lines}")


def _expected(unit: str, key: str) -> str:
    """Return the value of a key in a unit as it is, or will be, installed; "" without one."""
    found = shared()
    for directory in (*([found.units] if found else ()), *_OF_PACKAGES):
        with suppress(OSError):
            return " ".join(re.findall(rf"^{key}=(.*)$", (directory / unit).read_text("utf-8"), re.MULTILINE))
    return ""


def _group_of_log(config: Config) -> str | None:
    """Return the group that may read Exim's main log, None if everybody may, or there is no log yet.

    systemd starts no service with a group that does not exist: "" if the group that the unit names does not.
    """
    if config.log.source == "journal":
        return None
    path = config.log.path or main_log(config)
    for one in (path, path.parent):
        with suppress(OSError, KeyError):
            found = one.stat()
            if not found.st_mode & stat.S_IROTH:
                return grp.getgrgid(found.st_gid).gr_name
    try:
        grp.getgrnam(_expected("eximcertd.service", "SupplementaryGroups"))
    except KeyError:
        return ""
    return None


def _verify_programs() -> None:
    """Verify that the units can run the programs, and that only root can have written them. Raises EximcertdError."""
    hint = (
        "install it with a root-owned Python into another directory, for example a virtual environment /opt/eximcertd"
    )
    for path in {Path(sysconfig.get_path("scripts")), Path(sys.executable).resolve().parent}:
        if any(path.is_relative_to(hidden) for hidden in _HIDDEN):
            raise EximcertdError(f"the units' sandbox hides {path}, where eximcertd is installed", hint=hint)
        for line in only_root_writes(path, "the programs of eximcertd in", ""):
            if line.verdict is Verdict.ERROR:
                raise EximcertdError(line.sentence, hint=f"{line.remedy}; or {hint}")


def install(changeset: Changeset, wanted: list[Change]) -> str:
    """Write the files and start the service; return a sentence. Raises EximcertdError."""
    try:
        changeset.apply(wanted, _start)
    except BaseException:
        _systemctl("daemon-reload")
        raise
    if not _managed():
        return "Done. systemd does not manage this machine: nothing was started."
    return 'Done. eximcertd runs. Next: "eximcertctl setup".'


def remove(changeset: Changeset) -> str:
    """Stop the service, if its units are ours, and remove the files; return a sentence. Raises EximcertdError."""
    if changeset.standing(_PLACES[".service"] / _UNITS[0]):
        _systemctl("disable", "--now", *_UNITS)
    changeset.apply([], lambda: _systemctl("daemon-reload"))
    return "Done. The user eximcertd and /var/lib/eximcertd stay."


def _start() -> None:
    if _SYSUSERS.exists():
        _run("/usr/bin/systemd-sysusers", str(_SYSUSERS))
    _systemctl("daemon-reload")
    try:
        _systemctl("enable", _UNITS[0])
        _systemctl("restart", _UNITS[0])
        if _managed():
            _run("/usr/bin/journalctl", "--update-catalog")
    except EximcertdError:
        _systemctl("disable", "--now", *_UNITS)
        raise


def _managed() -> bool:
    """Tell whether systemd manages this machine."""
    return Path("/run/systemd/system").is_dir()


def _systemctl(*arguments: str) -> None:
    if _managed():
        _run("/usr/bin/systemctl", *arguments)


def _run(*command: str) -> None:
    result = run(list(command), _LIMIT)
    if result.status != 0:
        raise EximcertdError(
            f"{' '.join(command)} failed: {result.words()}", hint="journalctl -u eximcertd has the reason"
        )
