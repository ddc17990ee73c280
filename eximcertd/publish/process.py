"""Processes as /proc shows them (proc(5)): what a process is, and whether an Exim daemon runs that nothing names."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.publish.stop import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eximcertd.publish.settings import Settings

_LIMIT: Final = 5.0
"""Seconds that a look at all processes may take."""
_PATIENCE: Final = 1.0
"""Seconds in which a daemon that is just starting takes its signals."""
_LONGEST: Final = 1 << 16


def read(pid: int, name: str) -> str:
    """Return the begin of a file of a process's, "" if the process has ended or is hidden."""
    try:
        with Path(f"/proc/{pid}/{name}").open("rb") as file:
            return file.read(_LONGEST).decode("utf-8", "backslashreplace")
    except OSError:
        return ""


def field(status: str, name: str) -> list[str]:
    """Return the words of a line of /proc/PID/status; none if there is no such line."""
    found = re.search(rf"^{name}:\s*(.*)$", status, re.MULTILINE)
    return found[1].split() if found else []


def catches(status: str, number: int) -> bool:
    """Tell whether a process has a handler for a signal."""
    return any(int(mask, 16) >> (number - 1) & 1 for mask in field(status, "SigCgt")[:1])


def names(settings: Settings) -> set[str]:
    """Return the names that Exim's processes may have."""
    return {settings.program.name[:15], settings.program.resolve().name[:15]}


def unnamed_daemon(settings: Settings, user: int, configuration: str, usual: Callable[[], str]) -> int | None:
    """Return the id of a process that is an Exim daemon with our configuration, as far as can be told; else None.

    user: Exim's user id. configuration: the file that Exim says it reads. usual: asks for the one that it reads
    where none is named. A session of a daemon that has ended has
    its command line too; what is left out by then is SIGCHLD, which the daemon alone catches (seen on 4.96).
    Raises Stop if that cannot be looked up.
    """
    if not read(1, "status"):
        raise failed("/proc hides other users' processes (hidepid): whether an Exim daemon runs cannot be told")
    deadline = time.monotonic() + _LIMIT
    found = list(_started_as_daemons(settings, user, deadline))
    unnamed = usual() if any(config is None for _pid, config in found) else ""
    ours = [pid for pid, config in found if not configuration or configuration in (config or unnamed).split(":")]
    patience = time.monotonic() + _PATIENCE
    while ours:
        for pid in list(ours):
            status = read(pid, "status")
            if not status:
                ours.remove(pid)
            elif catches(status, signal.SIGCHLD):
                return pid
        if time.monotonic() > patience:
            break
        time.sleep(0.02)
    return None


def _started_as_daemons(settings: Settings, user: int, deadline: float) -> Iterator[tuple[int, str | None]]:
    """Yield process id and argument of -C (None without one) of what was started as a daemon by Exim's program."""
    wanted = names(settings)
    depth = len(field(read(os.getpid(), "status"), "NSpid"))
    with os.scandir("/proc") as entries:
        for pid in (int(entry.name) for entry in entries if entry.name.isdecimal()):
            if time.monotonic() > deadline:
                raise failed(f"there are more processes than can be looked at within {_LIMIT:g} s")
            status = read(pid, "status")
            users = field(status, "Uid")
            if not wanted & set(field(status, "Name")) or not users or int(users[1]) not in (0, user):
                continue
            arguments = read(pid, "cmdline").split("\0")[1:]
            # one in a container of its own has a process id more, the one there
            if not {"-bd", "-bdf"} & set(arguments) or len(field(status, "NSpid")) != depth:
                continue
            at = next((at for at, argument in enumerate(arguments) if argument.startswith("-C")), None)
            yield pid, None if at is None else arguments[at][2:] or "".join(arguments[at + 1 : at + 2])


def configuration_file(said: str) -> str:
    """Return which configuration file was read, as ``exim -bV`` tells; "" if it does not."""
    found = re.search(r"^Configuration file is (.+)$", said, re.MULTILINE)
    return found[1] if found else ""
