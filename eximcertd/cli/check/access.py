"""What a user may do with a file, tried as that user: modes, lists and mounts all count then. Root only."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TEST: Final = "/usr/bin/test"
_TIME_LIMIT: Final = 10.0


@dataclass(frozen=True, slots=True)
class User:
    """A user with the groups that his processes have."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def named(cls, name: str) -> User | None:
        """Return the user of a name, or of a number written out; None if there is none."""
        try:
            entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except KeyError:
            return None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))

    @classmethod
    def of_process(cls, pid: int) -> User | None:
        """Return whom a process runs as, with the groups that it really has; None if it is gone."""
        try:
            text = Path("/proc", str(pid), "status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        found = {key: value.split() for key, _, value in (line.partition(":") for line in text.splitlines())}
        uid, gid = int(found["Uid"][1]), int(found["Gid"][1])
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = f"uid {uid}"
        return cls(name, uid, gid, tuple(int(group) for group in found.get("Groups", [])))

    def may(self, what: str, path: Path) -> bool:
        """Tell whether this user may do it: "r", "w" or "x". Raises PermissionError if the caller cannot be him."""
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
