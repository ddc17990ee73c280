"""What a user may do with a file, tried as that user: modes, ACLs and mounts all count then. Needs root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.control.caller import Caller

_TEST: Final = "/usr/bin/test"
_TIME_LIMIT: Final = 10.0


@dataclass(frozen=True, slots=True)
class User:
    """A user and the groups that the user's processes have."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def named(cls, name: str) -> User | None:
        """Return the user of a name, or of a number in digits; None if there is none."""
        try:
            entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except KeyError:
            return None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))

    @classmethod
    def of_peer(cls, peer: Caller) -> User:
        """Return the user of the process at the other end of a socket, with the groups that it has."""
        return cls(peer.name, peer.uid, peer.gid, tuple(peer.groups))

    def may(self, what: str, path: Path) -> bool:
        """Tell whether this user may read ("r"), write ("w") or search ("x") a file. Raises OSError."""
        done = subprocess.run(
            [_TEST, f"-{what}", str(path)],
            user=self.uid,
            group=self.gid,
            extra_groups=self.groups,
            cwd="/",
            timeout=_TIME_LIMIT,
            check=False,
        )
        return done.returncode == 0
