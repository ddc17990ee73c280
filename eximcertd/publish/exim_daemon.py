"""Exim's daemon: found by its pid file, signalled as Exim's own user, and seen to have loaded the file.

The pid file lies where Exim's user can write, so it is a hint: what it names must be the configured program, run
by Exim's user, and is held through a pidfd while it is looked at and signalled. A HUP makes the daemon execute
itself again under the same pid; it reads its configuration, then opens its sockets, then catches SIGHUP again
(seen with strace on 4.96). So once SIGHUP is seen caught AFTER the rename, any listening socket of Exim's (see
listening.py) that appears later was opened by a daemon that read the file after the rename, whoever sent the HUP.
"""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.publish import listening
from eximcertd.publish.child import as_user
from eximcertd.publish.process import catches, configuration_file, field, names, read, unnamed_daemon
from eximcertd.publish.run import run
from eximcertd.publish.stop import failed, shown
from eximcertd.publish.unit import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.publish.judge import Facts
    from eximcertd.publish.settings import Settings

_ATTEMPTS: Final = 5
_PATIENCE: Final = 1.0
"""Seconds after which a HUP counts as lost (Exim ignores it while it executes itself again)."""
_SUCCESSOR: Final = 2.0
"""Seconds in which another daemon may take a dead one's place (a restart by somebody else)."""
_RESTART: Final = 30.0
_SYSTEMD: Final = Path("/run/systemd/system")
_NOT_YET: Final = "what was asked for stands, not yet loaded"


@dataclass(frozen=True, slots=True)
class Daemon:
    """Exim's daemon. start: its start time in clock ticks since boot. command: what it was started with."""

    pid: int
    descriptor: int
    start: int
    command: list[str]
    unit: str | None

    def gone(self) -> bool:
        """Tell whether it has ended."""
        return bool(select.select([self.descriptor], [], [], 0)[0])

    def catches_hup(self) -> bool:
        """Tell whether a HUP would be heeded now: not so while it starts again."""
        return catches(read(self.pid, "status"), signal.SIGHUP)


def _stat(pid: int) -> list[str]:
    """Return name, state and what follows of /proc/PID/stat (proc(5)); empty texts if it has ended."""
    name, _, rest = read(pid, "stat").partition("(")[2].rpartition(")")
    return [name, *(rest.split() or [""] * 21)]


def find(settings: Settings, facts: Facts) -> Daemon | None:
    """Return the running daemon, None if none runs. Raises Stop if one runs that the pid file does not name."""
    _join_group(facts)
    daemon, why = _named(settings, facts)
    if daemon is not None:
        return daemon

    def usual() -> str:
        return configuration_file(run([str(settings.program), "-bV"], _RESTART).out)

    running = unnamed_daemon(settings, _user(facts), facts.configuration, usual)
    if running is None:
        return None
    deadline = time.monotonic() + _PATIENCE  # one that was just started writes its pid file a little later
    while time.monotonic() < deadline:
        time.sleep(0.02)
        daemon, why = _named(settings, facts)
        if daemon is not None:
            return daemon
    raise failed(
        f"an Exim daemon runs as process {running}, but cannot be found: {why}. Start it with -oP {facts.pid_file} "
        "(with -oX it writes no pid file unasked), or put its process id there"
    )


def _named(settings: Settings, facts: Facts) -> tuple[Daemon | None, str]:
    """Return the daemon that the pid file names, or why it names none. Raises Stop if it cannot be read."""
    pid = _pid_file(facts.pid_file)
    return (None, f"{facts.pid_file} names no process") if pid is None else _look(pid, settings, facts)


def _join_group(facts: Facts) -> None:
    """Become a member of Exim's group: the pid file's directory may be closed to all others, root included."""
    if os.geteuid() == 0:
        os.setgroups(sorted({*os.getgroups(), facts.user[1]}))


def _user(facts: Facts) -> int:
    """Return the user id of Exim's daemon: whoever runs this without being root runs Exim as well."""
    return facts.user[0] if os.geteuid() == 0 else os.geteuid()


def _pid_file(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failed(f"the pid file {path} cannot be read: {error.strerror}; see [exim] pid_file") from None
    try:
        raw = os.read(descriptor, 32).strip()
    except OSError as error:
        raise failed(f"the pid file {path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return int(raw) if re.fullmatch(rb"[1-9][0-9]{0,8}", raw) else None


def _look(pid: int, settings: Settings, facts: Facts) -> tuple[Daemon | None, str]:
    """Return the daemon that a process is, or why it is none."""
    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, OverflowError):
        return None, f"{facts.pid_file} names process {pid}, which does not run"
    wanted = str(_user(facts))
    programs = names(settings)

    def is_exim() -> bool:
        fields = _stat(pid)
        return fields[0] in programs and fields[1] not in {"", "Z"}

    def is_daemon() -> bool:
        return set(field(read(pid, "status"), "Uid")[:3]) == {wanted}

    # while it starts again it is root for some milliseconds
    if not is_exim() or not _until(lambda: is_daemon() or not is_exim(), _SUCCESSOR) or not is_exim():
        os.close(descriptor)
        return None, f"{facts.pid_file} names process {pid}, which is no {settings.program.name} of Exim's user"
    command = read(pid, "cmdline").split("\0")[:-1]
    started = _stat(pid)[20]
    if not started.isdecimal():
        os.close(descriptor)
        return None, f"{facts.pid_file} names process {pid}, which has ended"
    # asked now: a daemon that has died has none
    unit = unit_of(pid, read(pid, "cgroup")) if settings.restart and _SYSTEMD.is_dir() else None
    return Daemon(pid, descriptor, int(started), command, unit), ""


def _sockets(daemon: Daemon, facts: Facts) -> set[tuple[str, str]]:
    """Return the sockets that the daemon opens anew each time it starts."""
    at = daemon.command.index("-oX") + 1 if "-oX" in daemon.command[:-1] else 0
    ports = listening.ports(daemon.command[at] if at else "", facts.interfaces, facts.ports)
    return listening.sockets(daemon.pid, ports, {0, _user(facts)})


def _until(condition: Callable[[], bool], limit: float) -> bool:
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def reload(daemon: Daemon, facts: Facts) -> bool:
    """Make the daemon read its configuration, to be called after the rename; False if it ended.

    Returns True once it was seen to have done so. Raises Stop if that was not seen within the limit.
    """
    patience = max(_PATIENCE, 3 * facts.seconds)
    if not _until(lambda: daemon.gone() or daemon.catches_hup(), 5 * patience):
        raise failed(f"Exim's daemon {daemon.pid} never heeds a HUP: {_NOT_YET}")
    before = _sockets(daemon, facts)

    def loaded() -> bool:
        return daemon.gone() or (bool(_sockets(daemon, facts) - before) and daemon.catches_hup())

    for _attempt in range(_ATTEMPTS):
        _signal(daemon, facts)
        if _until(loaded, patience):
            return not daemon.gone()
    if not _sockets(daemon, facts):
        raise failed(
            f"Exim's daemon {daemon.pid} got {_ATTEMPTS} HUPs, but listens on none of its TCP ports as Exim's user or "
            "root, and nothing else shows what it has loaded: what was asked for stands; restart Exim, and see its "
            "daemon_smtp_ports and local_interfaces"
        )
    raise failed(
        f"Exim's daemon {daemon.pid} got {_ATTEMPTS} HUPs and was not seen to load its configuration: {_NOT_YET}"
    )


def _signal(daemon: Daemon, facts: Facts) -> None:
    """Send a HUP as Exim's user, who can hurt nothing but Exim, whatever process it is."""
    user, group, _groups = facts.user
    status = as_user(
        user, group, lambda: signal.pidfd_send_signal(daemon.descriptor, signal.SIGHUP), keep=daemon.descriptor
    )
    if status not in (0, errno.ESRCH):
        raise failed(f"Exim's daemon {daemon.pid} could not be signalled: {os.strerror(status)}; {_NOT_YET}")


def successor(settings: Settings, facts: Facts, since: float) -> Daemon | None:
    """Return a daemon that was started after ``since`` (seconds on CLOCK_BOOTTIME), if one turns up in time."""
    found: list[Daemon] = []

    def looked() -> bool:
        named = _pid_file(facts.pid_file)
        daemon = _look(named, settings, facts)[0] if named else None
        if daemon and daemon.start / os.sysconf("SC_CLK_TCK") > since and daemon.catches_hup():
            found.append(daemon)
        return bool(found)

    _until(looked, _SUCCESSOR)
    return found[0] if found else None


def restart(daemon: Daemon, settings: Settings, facts: Facts) -> str:
    """Start Exim again as it was started; return "" if that was seen to work, else why not."""
    began = time.clock_gettime(time.CLOCK_BOOTTIME) - 0.05
    if _SYSTEMD.is_dir():
        if daemon.unit is None:
            return f"its process {daemon.pid} was no service of systemd's that can be restarted"
        said = run(["systemctl", "restart", daemon.unit], _RESTART)
    else:
        arguments = _known(daemon.command[1:], settings)
        if arguments is None:
            return f"it was started in a way that is not repeated: {shown(' '.join(daemon.command))}"
        said = run([str(settings.program), *arguments], _RESTART)
    if said.status != 0:
        return f"the restart failed: {said.words()}"
    found = successor(settings, facts, began)
    return "" if found else "it was started, and no daemon was found afterwards"


def _known(arguments: list[str], settings: Settings) -> list[str] | None:
    """Return a daemon's arguments if each is harmless: a process of Exim's user tells them, and root repeats them."""
    arguments = ["-bd" if argument == "-bdf" else argument for argument in arguments]
    line = "\0".join(arguments)
    config = f"\0?-C\0?{re.escape(str(settings.config))}" if settings.config else "(?!)"
    known = rf"(?:^|\0)(?:-bd|-q[a-z]{{0,4}}(?:[0-9]+[smhdw])+|-oX\0[][0-9a-fA-F.:;< ]+)(?=\0|$)|{config}(?=\0|$)"
    return arguments if not re.sub(known, "", line) and "-bd" in arguments else None
