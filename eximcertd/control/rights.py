"""The rights of callers of the control socket. No other module decides about rights.

A method needs one right; a method that is not in the table is refused. Root has every right; members of the
configured groups may read, or read and approve; the user of eximcertd-fleet may hand over decisions of the fleet. Pure,
except for the look-up of names.
"""

from __future__ import annotations

import grp
import pwd
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.errors import ConfigurationError
from eximcertd.settings import ControlSettings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from eximcertd.config import DaemonConfig


class Right(Enum):
    """The right that a method needs. ANYBODY: a connection is sufficient."""

    ANYBODY = "anybody"
    READ = "read"
    APPROVE = "approve"
    FLEET = "hand over decisions of the fleet"


TABLE: Final[dict[str, Right]] = {
    "org.varlink.service.GetInfo": Right.ANYBODY,
    "org.varlink.service.GetInterfaceDescription": Right.ANYBODY,
    "org.eximcertd.Status": Right.READ,
    "org.eximcertd.List": Right.READ,
    "org.eximcertd.Count": Right.READ,
    "org.eximcertd.Show": Right.READ,
    "org.eximcertd.Find": Right.READ,
    "org.eximcertd.Complete": Right.READ,
    "org.eximcertd.GetCertificate": Right.READ,
    "org.eximcertd.History": Right.READ,
    "org.eximcertd.Check": Right.READ,
    "org.eximcertd.Watch": Right.READ,
    "org.eximcertd.Edits": Right.READ,
    "org.eximcertd.Issuers": Right.READ,
    "org.eximcertd.Authorities": Right.READ,
    "org.eximcertd.AddAuthority": Right.APPROVE,
    "org.eximcertd.WithdrawAuthority": Right.APPROVE,
    "org.eximcertd.Decide": Right.APPROVE,
    "org.eximcertd.Last": Right.APPROVE,
    "org.eximcertd.Segments": Right.APPROVE,
    "org.eximcertd.Record": Right.APPROVE,
    "org.eximcertd.Export": Right.APPROVE,
    "org.eximcertd.Import": Right.APPROVE,
    "org.eximcertd.Retry": Right.APPROVE,
    "org.eximcertd.FleetStatus": Right.READ,
    "org.eximcertd.FleetNews": Right.FLEET,
    "org.eximcertd.FleetHashes": Right.FLEET,
    "org.eximcertd.FleetTake": Right.FLEET,
    "org.eximcertd.FleetState": Right.FLEET,
    "org.eximcertd.FleetAccept": Right.APPROVE,
}


@dataclass(frozen=True, slots=True)
class Rights:
    """The groups, by number, that may read, and that may read and approve. fleet: eximcertd-fleet's user, or None."""

    readers: frozenset[int] = frozenset()
    approvers: frozenset[int] = frozenset()
    fleet: int | None = None

    @classmethod
    def of_groups(cls, readers: Iterable[str], approvers: Iterable[str]) -> Rights:
        """Look the groups up by name. Raises ConfigurationError that names every one that cannot be used."""
        wrong: list[str] = []
        found = cls(_numbers("readers", readers, wrong), _numbers("approvers", approvers, wrong))
        if wrong:
            raise ConfigurationError(
                "\n".join(wrong), hint="create the group (addgroup --system NAME), or name another one"
            )
        return found

    def held(self, uid: int, groups: AbstractSet[int]) -> frozenset[Right]:
        """Return the rights of a user with these groups (including the primary group)."""
        if uid == 0:
            return frozenset(Right)
        held = {Right.ANYBODY}
        if groups & (self.readers | self.approvers):
            held.add(Right.READ)
        if groups & self.approvers:
            held.add(Right.APPROVE)
        if uid == self.fleet:
            held.add(Right.FLEET)
        return frozenset(held)

    def allow(self, method: str, uid: int, groups: AbstractSet[int]) -> bool:
        """Tell whether a user with these groups may call ``method``; False for a method that is not in the table."""
        needed = TABLE.get(method)
        return needed is not None and needed in self.held(uid, groups)


def rights_of(config: DaemonConfig) -> tuple[Rights, str]:
    """Return the rights of the configured groups and of eximcertd-fleet's user, and a notice about them, or "".

    Only the default group, and that user, may be missing. Raises ConfigurationError for another missing group.
    """
    readers, notice = config.control.readers, ""
    if readers == ControlSettings().readers and missing(readers):
        notice = f"; there is no group {readers[0]}, so that only root and [control] approvers may read"
        readers = ()
    rights = Rights.of_groups(readers, config.control.approvers)
    if not config.fleet.relay:
        return rights, notice
    try:
        return replace(rights, fleet=pwd.getpwnam(config.fleet.user).pw_uid), notice
    except KeyError:
        return rights, f"{notice}; there is no user {config.fleet.user}, so that eximcertd-fleet cannot work"


def _numbers(key: str, names: Iterable[str], wrong: list[str]) -> frozenset[int]:
    numbers = set()
    for name in names:
        try:
            number = grp.getgrnam(name).gr_gid
        except KeyError:
            wrong.append(f"[control] {key} = {name!r}: there is no such group on this machine")
            continue
        if number == _overflow_gid():
            # In a user namespace every unmapped group appears as this one.
            wrong.append(f"[control] {key} = {name!r}: this is the group for every group that the kernel cannot name")
            continue
        numbers.add(number)
    return frozenset(numbers)


def missing(groups: Iterable[str]) -> list[str]:
    """Return the names that no group of this machine has."""
    absent = []
    for name in groups:
        try:
            grp.getgrnam(name)
        except KeyError:
            absent.append(name)
    return absent


def _overflow_gid() -> int:
    try:
        return int(Path("/proc/sys/kernel/overflowgid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 65534
