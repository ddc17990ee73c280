"""The system calls of a real program, enumerated by strace, and a fault put in at one of them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

STRACE: Final = "/usr/bin/strace"
_CALL = re.compile(r'(?P<name>\w+)\((?P<rest>(?:AT_FDCWD|\d+)?,? ?(?:"(?P<path>[^"]*)")?.*)')
_CHANGES: Final = re.compile(
    "write|pwrite64|writev|fsync|fdatasync|fchmod|fchown|ftruncate|fallocate|flock|rename.*|unlink.*|link.*|symlink.*|"
    "mkdir.*|rmdir|utimensat|clone.*|fork|vfork|wait4|kill|pidfd_send_signal|.*mount2?|unshare|setxattr|send.*|exit_group"
)


@dataclass(frozen=True, slots=True)
class Call:
    """One system call of a program: the ``number``th with this name (and, for openat, this path)."""

    name: str
    path: str
    number: int
    text: str

    def changes_something(self) -> bool:
        """Tell whether anybody outside the process could see that it was made."""
        return bool(_CHANGES.fullmatch(self.name)) or (self.name.startswith("open") and "O_CREAT" in self.text)

    def strace(self, fault: str) -> tuple[str, ...]:
        """Return the wrapper that puts in a fault, such as "signal=KILL" or "error=ENOSPC", before this call."""
        where = ("-P", self.path) if self.name == "openat" else ()
        injected = f"inject={self.name}:{fault}:when={self.number}"
        return (STRACE, "-o", "/dev/null", *where, "-e", f"trace={self.name}", "-e", injected)


def recorder(trace: Path) -> tuple[str, ...]:
    """Return the wrapper that records a program's system calls, its children's left out."""
    return (STRACE, "-o", str(trace))


def read(lines: Iterable[str]) -> list[Call]:
    """Return the calls that a trace tells of, in order."""
    seen: Counter[tuple[str, str]] = Counter()
    calls = []
    for line in lines:
        found = _CALL.match(line)
        if found is None:
            continue
        path = (found["path"] or "") if found["name"] == "openat" else ""
        seen[found["name"], path] += 1
        calls.append(Call(found["name"], path, seen[found["name"], path], line.strip()))
    return calls
