"""Exim's daemons of one configuration, and what they listen on.

A process is taken for one by what its user alone determines: its command line (-bd or -bdf, the same configuration),
its user ids, the signals that it handles. Its name tells nothing: it is that of the link by which it was started, until
its first HUP (seen on 4.96). A daemon handles SIGCHLD; the session processes that it forks have its command line and
ignore SIGCHLD.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.exim import listeners as sockets
from eximcertd.exim import processes
from eximcertd.exim.run import EximError, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.exim.listeners import Endpoint, Listener, Look
    from eximcertd.exim.settings import Exim

OPTIONS: Final = (
    "exim_user", "exim_group", "local_interfaces", "daemon_smtp_ports", "tls_on_connect_ports",
)  # fmt: skip
"""The settings from which EximFacts is made."""

_LIMIT: Final = 5.0
"""Seconds that reading the list of processes may take."""
_SETTLING: Final = 2.0
"""Seconds in which a daemon that is starting becomes Exim's user and handles its signals."""
_WHILE_IT_WAITS: Final = (signal.SIGUSR1, signal.SIGALRM)
"""What Exim handles from its start on (for exiwhat, and its own timers); SIGHUP it ignores until it has its port."""
_BRIEFLY: Final = 0.02
_LOOKS: Final = 5
_EXECUTION: Final = 25
_QUESTION: Final = 10.0


class EximFacts(NamedTuple):
    """What Exim says of itself.

    program, configuration: paths. default: whether the configuration is the one that Exim reads without -C.
    user, group: ids of Exim's user. interfaces, ports, tls_ports: the options local_interfaces, daemon_smtp_ports and
    tls_on_connect_ports.
    """

    program: str
    configuration: str
    default: bool
    user: int
    group: int
    interfaces: str = ""
    ports: str = ""
    tls_ports: str = ""

    @property
    def owners(self) -> set[int]:
        """The users that may have opened a socket of Exim's: root and Exim's, and who runs a private Exim."""
        return {0, self.user, os.geteuid()}


class EximDaemon(NamedTuple):
    """A daemon of our configuration. started: seconds since the machine's start. endpoints: what it should listen on.

    macros: those that its command line defines (-D), which override the configuration's. chosen: its argument of -C.
    """

    pid: int
    argv: tuple[str, ...]
    user: int
    started: float
    endpoints: frozenset[Endpoint]
    macros: tuple[str, ...] = ()
    chosen: str = ""

    @property
    def ends_on_a_reload(self) -> bool:
        """It names its configuration by a relative path, and has changed to its spool since (seen on 4.96)."""
        return any(not name.strip().startswith("/") for name in self.chosen.split(":") if name.strip())

    def started_at(self) -> float:
        """Return when it was started, in seconds since the epoch."""
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + self.started

    def listening(self, facts: EximFacts, look: Look | None = None) -> set[Listener]:
        """Return its sockets: those on its endpoints that one of Exim's users has opened. look: as in listeners."""
        found = sockets.listeners([self.pid], {port for _, port in self.endpoints}, look)
        return {one for one in found if one.user in facts.owners and one.is_one_of(self.endpoints)}


def facts(exim: Exim) -> EximFacts:
    """Return what Exim says of itself. Raises EximError."""
    build = exim.build()
    return facts_of(str(exim.binary), str(build.config or ""), exim.settings(*OPTIONS), default=exim.config is None)


def facts_of(program: str, configuration: str, options: dict[str, str], *, default: bool) -> EximFacts:
    """Return the facts that the values of OPTIONS tell. Raises EximError for a user that does not exist."""
    import grp  # noqa: PLC0415 - only where Exim is asked
    import pwd  # noqa: PLC0415 - the same

    user, group = options.get("exim_user", ""), options.get("exim_group", "")
    try:
        found = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
        gid = found.pw_gid if not group else int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except (KeyError, OverflowError):
        raise EximError(f"Exim's user {user[:40]!a} or group {group[:40]!a} does not exist on this machine") from None
    rest = (options.get(name, "") for name in ("local_interfaces", "daemon_smtp_ports", "tls_on_connect_ports"))
    return EximFacts(program, configuration, default, found.pw_uid, gid, *rest)


def daemons(facts: EximFacts) -> list[EximDaemon]:
    """Return the daemons of our configuration, in the order of their ids.

    Raises EximError where other users' processes are hidden, or there are too many to be looked at.
    """
    if processes.hidden():
        raise EximError(
            "/proc hides other users' processes (hidepid), so Exim's daemons cannot be seen",
            hint="Mount /proc without hidepid, or with gid= set to a group of Exim's user.",
        )
    for _look in range(_LOOKS):
        candidates = list(_candidates(facts))
        patience = time.monotonic() + _SETTLING  # of all together: one that waits for ever must not hide the others
        verdicts = {daemon: _is_daemon(daemon.pid, facts, patience) for daemon in candidates}
        if None not in verdicts.values():
            break  # else one ended: perhaps it was a daemon that left its place to a child, as -bd does when it starts
    found = [daemon for daemon, verdict in verdicts.items() if verdict]
    ids = {daemon.pid for daemon in found}
    # between its fork and its first call a session looks like its daemon
    return [daemon for daemon in found if (seen := processes.process(daemon.pid)) and seen.parent not in ids]


def forked(facts: EximFacts) -> list[EximDaemon]:
    """Return the processes that daemons of our configuration have forked, also those that outlive their daemon.

    Most are sessions, which ignore SIGCHLD; others run the queue. Raises EximError as ``daemons`` does.
    """
    running = {daemon.pid for daemon in daemons(facts)}
    return [
        one
        for one in _candidates(facts)
        if one.pid not in running
        and (seen := processes.process(one.pid)) is not None
        and (seen.ignores(signal.SIGCHLD) or seen.parent in running)
    ]


def _candidates(facts: EximFacts) -> Iterator[EximDaemon]:
    """Yield what was started as a daemon of our configuration by one of Exim's users, sessions included.

    All of its user ids count: every local user can have a set-user-id program wait, with any command line.
    """
    deadline = time.monotonic() + _LIMIT
    own = processes.process(os.getpid())
    usual: str | None = facts.configuration if facts.default else None
    for pid in processes.all_ids():
        if time.monotonic() > deadline:
            raise EximError(f"there are more processes than can be looked at within {_LIMIT:g} s")
        argv = processes.arguments(pid) or _after_execution(pid, facts)
        if not {"-bd", "-bdf"} & set(argv[1:]):
            continue
        seen = processes.process(pid)
        # a process in a container has more ids, and a configuration of its own
        if seen is None or not facts.owners.issuperset(seen.users) or (own and seen.depth != own.depth):
            continue
        chosen = _argument(argv, "-C")
        if not chosen:
            usual = usual or _default_configuration(facts.program)
        if _is_ours(chosen or usual or "", facts.configuration):
            listens = sockets.endpoints(_argument(argv, "-oX"), facts.interfaces, facts.ports)
            macros = tuple(one[2:].partition("=")[0].strip() for one in argv[1:] if one.startswith("-D"))
            yield EximDaemon(pid, tuple(argv), seen.users[1], seen.started, frozenset(listens), macros, chosen)


def _after_execution(pid: int, facts: EximFacts) -> list[str]:
    """Return the command line of a process that executes a program, as Exim does on SIGHUP: it is empty meanwhile."""
    if processes.of_the_kernel(pid):
        return []
    for _look in range(_EXECUTION):
        seen, argv = processes.process(pid), processes.arguments(pid)
        if argv or seen is None or not facts.owners.issuperset(seen.users):
            return argv
        time.sleep(_BRIEFLY / 10)
    return []


def _is_daemon(pid: int, facts: EximFacts, patience: float) -> bool | None:
    """Tell whether a candidate is a daemon, as soon as that is known; None if it ends before.

    While a daemon starts it is root, and handles no signals; as long as its port is in use it ignores SIGHUP. patience:
    until when to wait for it.
    """
    while seen := processes.process(pid):
        if seen.ignores(signal.SIGCHLD):
            return False
        if set(seen.users) <= facts.owners - {0} | {facts.user} and seen.catches(signal.SIGCHLD):
            return True
        if time.monotonic() > patience:
            return seen.ignores(signal.SIGHUP) and all(map(seen.catches, _WHILE_IT_WAITS))
        time.sleep(_BRIEFLY)
    return None


def _argument(argv: list[str], option: str) -> str:
    """Return the argument of an option, which may be written together with it; "" without one."""
    for at, text in enumerate(argv[1:], 1):
        if text.startswith(option):
            return text[len(option) :] or "".join(argv[at + 1 : at + 2])
    return ""


def _is_ours(chosen: str, configuration: str) -> bool:
    """Tell whether Exim takes our configuration from a list of files: it takes the first that exists.

    A relative path counts by its name, since the directory in which Exim was started is not known any more.
    """
    files = [name.strip() for name in chosen.split(":") if name.strip()]
    name = os.path.basename(configuration)  # noqa: PTH119 - pathlib is slow to import
    there = (one for one in files if (os.path.exists(one) if one[0] == "/" else os.path.basename(one) == name))  # noqa: PTH110, PTH119 - the same
    first = next(there, files[-1] if files else "")
    try:
        if first[:1] != "/":
            return os.path.basename(first) == name  # noqa: PTH119 - the same
        return first == configuration or os.path.samefile(first, configuration)  # noqa: PTH121 - the same
    except OSError:
        return False


def _default_configuration(program: str) -> str:
    """Return the file that Exim reads without -C, "" if Exim does not print it."""
    try:
        found = run([program, "-bV", "-bP", "configure_file"], _QUESTION)
    except EximError:
        return ""
    return found.out.strip().rpartition("\n")[2] if found.status == 0 else ""
