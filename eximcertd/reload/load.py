"""Signalling every daemon of our configuration, and confirming that each has loaded it.

On SIGHUP a daemon closes its sockets and executes itself under the same process id. It then reads its configuration,
opens its sockets, and handles SIGHUP again (seen with strace on 4.96; Exim specification, chapter "The Exim runtime
configuration file"). So once SIGHUP is seen handled after the macro file was written, a socket that appears later
belongs to a daemon that has read the file. The kernel records the user who opened a socket, so that only root and
Exim's user can forge this sign.

A signal may be lost: Exim ignores SIGHUP while it executes itself, and one that comes before it waits for connections
has its effect at the next signal or connection only. So it is sent again.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from eximcertd.exim import listeners as sockets
from eximcertd.exim import processes
from eximcertd.exim.daemons import daemons
from eximcertd.exim.run import EximError, quoted
from eximcertd.reload.request import DIED, LOADED, NOT_LOADED, NOT_RUNNING, DaemonState, ReloadAnswer, ReloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from eximcertd.exim.daemons import EximDaemon, EximFacts
    from eximcertd.exim.listeners import Endpoint, Listener, Look

_ATTEMPTS: Final = 5
_PATIENCE: Final = 1.0
"""Seconds after which a signal counts as lost."""
_ROUNDS: Final = 3
"""How often daemons that were started meanwhile are looked for."""
_SUCCESSOR: Final = 2.0
"""Seconds in which another daemon may take the place of one that ended: somebody restarts Exim."""
_PAUSE: Final = 0.002
_AGAIN: Final = 0.1
"""Seconds before the second look at an Exim that does not seem to run."""
_MOST_SHOWN: Final = 3


class _Target:
    """A daemon that is to load the file. ready: it was seen to handle SIGHUP, and what it listened on then is known."""

    def __init__(self, daemon: EximDaemon, facts: EximFacts) -> None:
        self.daemon = daemon
        self.ready = False
        self.refused = ""
        self._facts = facts
        self._served: set[Endpoint] = set()
        self._descriptor = os.pidfd_open(daemon.pid)

    def gone(self) -> bool:
        """Tell whether it has ended."""
        return bool(select.select([self._descriptor], [], [], 0)[0])

    def handles_hup(self) -> bool:
        """Tell whether SIGHUP has an effect on it now."""
        seen = processes.process(self.daemon.pid)
        return seen is not None and seen.catches(signal.SIGHUP)

    def sockets(self, look: Look | None = None) -> set[Listener]:
        """Return its sockets, and note where they are: there it has to listen again."""
        found = self.daemon.listening(self._facts, look)
        self._served = {(one.address, one.port) for one in found}
        return found

    def signal(self) -> None:
        """Send SIGHUP."""
        try:
            signal.pidfd_send_signal(self._descriptor, signal.SIGHUP)
        except ProcessLookupError:
            pass  # gone() tells
        except PermissionError as error:  # Exim is root for some milliseconds, while it executes itself
            self.refused = error.strerror or "refused"

    def loaded(self, old: Collection[str], look: Look) -> bool:
        """Tell whether it was seen to have read its configuration. old: inodes of sockets that were there before."""
        now = self.daemon.listening(self._facts, look)
        if not now or any(one.inode in old for one in now) or not self.handles_hup():
            return False
        return all(
            any(one.port == port and (one.address == address or one.anywhere) for one in now)
            for address, port in self._served
        )

    def __str__(self) -> str:
        """Return what messages call it."""
        return f"process {self.daemon.pid} ({quoted(' '.join(self.daemon.argv), 200)})"


class _Reload:
    """The reload of all daemons. states: what was seen of each, by process id."""

    def __init__(self, facts: EximFacts, macro: str, patience: float) -> None:
        self.states: dict[int, DaemonState] = {}
        self._known: set[tuple[int, float]] = set()
        self._facts = facts
        self._macro = macro
        self._patience = patience
        self._endpoints = sockets.endpoints("", facts.interfaces, facts.ports)
        self._old: set[str] = set()
        self._signalled: float | None = None
        self._free = False

    def unknown(self) -> list[EximDaemon]:
        """Return the daemons that were not signalled yet. Raises EximError."""
        return [daemon for daemon in daemons(self._facts) if (daemon.pid, daemon.started) not in self._known]

    def round(self, found: Collection[EximDaemon]) -> None:
        """Signal daemons, and wait until each has loaded its configuration. Raises ReloadError."""
        targets = []
        for daemon in found:
            self._known.add((daemon.pid, daemon.started))
            self._endpoints |= daemon.endpoints
            if daemon.ends_on_a_reload:
                continue  # it keeps the old list: reported below, after the others have loaded the new one
            with suppress(ProcessLookupError):
                targets.append(_Target(daemon, self._facts))
        _until(lambda: all(one.gone() or one.handles_hup() for one in targets), 5 * self._patience)
        targets = [one for one in targets if not one.gone()]  # what ended unsignalled is not waited for
        self.states |= {one.daemon.pid: DaemonState(one.daemon.pid, None) for one in targets}
        if self._are_successors(targets):
            for one in targets:
                one.ready = True
            _until(lambda: self._settled(targets), self._patience)
        else:
            self._signal(targets)
        died = [one for one in targets if one.gone()]
        if died and not _until(lambda: bool(self.unknown()), _SUCCESSOR):
            what = f"EXIM IS DOWN: its daemon, {died[0]}, ended on a reload. The end of its panic log gives the reason."
            raise self._error(DIED, f"{what} Start Exim again.")
        for one in died:
            del self.states[one.daemon.pid]
        for one in targets:
            if one not in died and self.states[one.daemon.pid].loaded_at is None:
                raise self._error(NOT_LOADED, self._why(one))
        check_command_lines(found, self._macro, self.states)  # at the end: the others have loaded the list by then

    def answer(self) -> ReloadAnswer:
        """Return the answer once all daemons have loaded. Raises ReloadError if another process listens."""
        if not self.states:
            found = self._listening()
            if not found and not processes.read(1, "net/tcp"):
                raise EximError(
                    "/proc/1/net/tcp cannot be read: whether something listens on Exim's ports is not known"
                )
            if not found:
                return ReloadAnswer(NOT_RUNNING, message="Exim is not running. The list takes effect when it starts.")
            raise self._error(
                NOT_LOADED,
                f"no daemon of this configuration is found, but {_shown(found)}: if this is Exim, restart it; if it "
                'starts Exim for each connection, set [exim] reload = "none"',
            )
        if not self._free and not _until(lambda: not self._blocking(), self._patience):
            raise self._error(
                NOT_LOADED,
                f"{_shown(self._blocking())} was not seen to load the list: if this is Exim, restart it, else stop it",
            )
        return ReloadAnswer(LOADED, daemons=tuple(self.states.values()))

    def _blocking(self, look: Look | None = None) -> set[Listener]:
        """Return what listens in the place of a daemon since before the first signal."""
        return {one for one in self._listening(look) if one.inode in self._old and one.overlaps(self._endpoints)}

    def _listening(self, look: Look | None = None) -> set[Listener]:
        """Return what listens on a port that is named, of any user. look: as in listeners."""
        ports = sockets.named_ports(self._endpoints, self._facts.tls_ports)
        return sockets.listeners([1, "self", *self.states], ports, look)

    def _are_successors(self, targets: Collection[_Target]) -> bool:
        """Tell whether daemons were started after the first signal, and so have read the file."""
        began = self._signalled
        return began is not None and all(one.daemon.started > began for one in targets)

    def _signal(self, targets: Collection[_Target]) -> None:
        """Send SIGHUP until each daemon has loaded or ended."""
        ready = [one for one in targets if one.handles_hup()]  # before their sockets are looked at
        look: Look = {}
        if self._signalled is None:
            self._old = {one.inode for one in self._listening(look)}
            self._signalled = time.clock_gettime(time.CLOCK_BOOTTIME)
        for one in ready:
            self._signal_first(one, look)
        for attempt in range(_ATTEMPTS):
            for one in targets:
                if attempt and one.ready and self.states[one.daemon.pid].loaded_at is None:
                    one.signal()
            if _until(lambda: self._settled(targets), self._patience):
                return

    def _signal_first(self, one: _Target, look: Look) -> None:
        # sockets that it opened before it was seen to handle SIGHUP may belong to a start that read the old file
        self._old |= {socket.inode for socket in one.sockets(look)}
        one.ready = True
        one.signal()

    def _settled(self, targets: Collection[_Target]) -> bool:
        """Note which daemons have loaded; tell whether each has, or has ended."""
        waiting = [one for one in targets if self.states[one.daemon.pid].loaded_at is None and not one.gone()]
        handling = [one for one in waiting if one.handles_hup()]
        look: Look = {}  # to look at the sockets takes longer: once for all of them
        for one in handling:
            if not one.ready:
                self._signal_first(one, look)
            elif one.loaded(self._old, look):
                self.states[one.daemon.pid] = DaemonState(one.daemon.pid, time.time())
        settled = all(self.states[one.daemon.pid].loaded_at or one.gone() for one in targets)
        self._free = settled and not self._blocking(look)
        return settled

    def _why(self, target: _Target) -> str:
        if not target.handles_hup():
            why = "does not handle SIGHUP: it may wait for its port"
        elif target.refused:
            why = f"cannot be signalled: {target.refused}"
        elif not target.sockets():
            why = "listens on none of its ports as Exim's user: see daemon_smtp_ports and local_interfaces"
        else:
            why = f"got {_ATTEMPTS} SIGHUPs and was not seen to load its configuration"
        return f"Exim's daemon, {target}, {why}. It may still use the old list: restart it"

    def _error(self, outcome: str, message: str) -> ReloadError:
        return ReloadError(
            outcome, message, step="reload" if self.states else "daemons", daemons=tuple(self.states.values())
        )


def load(facts: EximFacts, macro: str, seconds: float) -> ReloadAnswer:
    """Have every daemon load its configuration; to be called after the macro file was written.

    macro: ours. seconds: that Exim takes to read its configuration. The answer is "loaded" or "not-running". Raises
    ReloadError with "not-loaded" or "died", and EximError where processes cannot be seen.
    """
    reload = _Reload(facts, macro, max(_PATIENCE, 3 * seconds))
    for _round in range(_ROUNDS):
        new = reload.unknown()
        if not new and not reload.states:  # perhaps somebody restarts Exim in this instant
            time.sleep(_AGAIN)
            new = reload.unknown()
        if not new:
            return reload.answer()
        reload.round(new)
    raise ReloadError(
        NOT_LOADED, "Exim is started again and again: the newest daemon was not seen to load", step="reload"
    )


def check_command_lines(found: Collection[EximDaemon], macro: str, states: Mapping[int, DaemonState]) -> None:
    """Raise ReloadError if the command line of a daemon keeps it from ever loading the list.

    states: what was seen of the others.
    """
    unseen = {one.pid: DaemonState(one.pid, None) for one in found}
    for daemon in found:
        why = ""
        if macro in daemon.macros:
            why = f"with -D{macro}, which overrides the macro file: start it without"
        elif daemon.ends_on_a_reload:
            why = (
                f"with -C {quoted(daemon.chosen, 200)}, which it does not find on a reload: start it with a whole path"
            )
        if why:
            raise ReloadError(
                NOT_LOADED,
                f"the Exim daemon {daemon.pid} was started {why}",
                step="daemons",
                daemons=tuple({**unseen, **states, daemon.pid: unseen[daemon.pid]}.values()),
            )


def _until(condition: Callable[[], bool], limit: float) -> bool:
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def _shown(found: Collection[Listener]) -> str:
    """Return who listens, in a clause: address, port, user, and the process where it can be seen."""
    import pwd  # noqa: PLC0415 - only where something is wrong

    shown = []
    for one in sorted(found)[:_MOST_SHOWN]:
        try:
            user = pwd.getpwuid(one.user).pw_name
        except KeyError:
            user = str(one.user)
        pid = processes.holder(one.inode)
        who = f", process {pid} ({quoted(' '.join(processes.arguments(pid)), 200)})" if pid else ""
        shown.append(f"a listener on {one} of user {user}{who}")
    return "; ".join(shown)
