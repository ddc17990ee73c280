"""When to look at the log next: when its directory changes, by the clock, or both.

An event only triggers a look, and costs more than the look itself if there are thousands of lines a second. So a look
that found something is followed by a second one 10 ms later. If that finds more, the watch is removed, and the clock
triggers looks at growing intervals until one finds nothing. Then the watch is set up again, and one more look finds
what was missed meanwhile. There is a slow look in any case. If there are no events, or the slow look finds a change
that no event reported, the clock triggers a look every quarter of a second.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.directory_watcher import DirectoryWatcher
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SECOND_LOOK: Final = 0.01
FIRST_POLL: Final = 0.02
LAST_POLL: Final = 0.2
POLL: Final = 0.25
RETRY: Final = 60.0
"""Seconds after which a watch that failed is tried again."""

_MANY: Final = 1000
"""After so many events about other files some of ours may be lost: the kernel drops events when its queue is full."""

_LATE: Final = 0.6  # watchdog delays events by half a second when a file is moved out of a directory
_NETWORK: Final = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "gfs2", "ocfs2", "fuse", "virtiofs")


def is_remote(directory: Path, mounts: str | None = None) -> bool:
    """Tell whether a directory lies on a file system that others change without this kernel's knowledge.

    mounts: the text of /proc/self/mountinfo (proc(5)), read if it is not given.
    """
    try:
        device = directory.stat().st_dev
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace") if mounts is None else mounts
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in text.splitlines():
        fields, _, tail = line.partition(" - ")
        if number in fields.split()[2:3]:
            return tail.startswith(_NETWORK)
    return False


logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # 7.1 logs an error when a watch is removed


class LogWatcher:
    """Waits between looks. stopped: ends every wait. floor: seconds between looks when nothing happens.

    concerns: tells whether a name in the directories is worth a look.
    """

    def __init__(self, stopped: threading.Event, floor: float, concerns: Callable[[bytes], bool]) -> None:
        self._stopped = stopped
        self._floor = floor
        self._concerns = concerns
        self._event = threading.Event()
        self._watchers: dict[Path, DirectoryWatcher] = {}
        self._closing: threading.Thread | None = None
        self._polling = 0.0
        self._again = False
        self._woken = True
        self._slept = False
        self._others = 0
        self._no_events_until = 0.0
        self._no_events: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the log is looked at by the clock alone, as a sentence, or None."""
        if self._no_events is None:
            return None
        return f"{self._no_events}: eximcertd looks every {POLL:g} s instead"

    def wake(self) -> None:
        """End the present wait; from any thread."""
        self._event.set()

    def close(self) -> None:
        """End the watch."""
        watchers, self._watchers = self._watchers, {}
        for one in watchers.values():
            one.close()
        if self._closing is not None:
            self._closing.join(1.0)

    def wait(self, directories: Sequence[Path], *, found: bool, expected: bool) -> None:
        """Wait until it is time for the next look.

        found: whether the last one found anything; expected: a change that an event should have reported.
        """
        if self._no_events is not None and time.monotonic() < self._no_events_until:
            self._stopped.wait(POLL)
        elif self._polling and found:
            self._polling = min(2 * self._polling, LAST_POLL)
            self._stopped.wait(self._polling)
        elif self._polling or self._no_events is not None or self._outdated(directories):
            self._arm(directories)
        else:
            self._await_event(found=found, expected=expected)

    def _outdated(self, directories: Sequence[Path]) -> bool:
        return set(directories) != set(self._watchers) or any(one.removed for one in self._watchers.values())

    def _await_event(self, *, found: bool, expected: bool) -> None:
        if self._slept and expected and not self._event.wait(_LATE):
            names = ", ".join(clean(str(directory)) for directory in self._watchers)
            self._give_up(f"{names}: changes there are not reported to this machine")
            return
        active, self._slept = found or self._woken, False
        self._woken = False
        if not active:
            self._again = False
            self._woken = self._event.wait(self._floor)
            self._slept = not self._woken
            self._event.clear()
            self._check()
            return
        if not self._again:
            self._again = True
            self._event.clear()
            self._stopped.wait(SECOND_LOOK)
            self._woken = self._event.is_set() and not found
            self._event.clear()
            return
        self._pause()
        self._polling = FIRST_POLL if found else POLL
        self._stopped.wait(self._polling)

    def _pause(self) -> None:
        """Remove the watch, in a thread: watchdog may need half a second for it."""
        watchers, self._watchers = list(self._watchers.values()), {}
        self._closing = threading.Thread(target=_close, args=(watchers,), name="log watch", daemon=True)
        self._closing.start()

    def _arm(self, directories: Sequence[Path]) -> None:
        """Set up the watch; the look that follows at once finds what was missed meanwhile."""
        if self._closing is not None and self._closing.is_alive():
            self._stopped.wait(FIRST_POLL)
            return
        for gone in set(self._watchers) - set(directories):
            self._watchers.pop(gone).close()
        self._event.clear()
        for directory in directories:
            watcher = self._watchers.setdefault(directory, DirectoryWatcher(directory, self._on_change))
            watcher.open()
            problem = _why_no_events(directory) or watcher.problem
            if problem is not None:
                self._give_up(problem)
                return
        self._no_events, self._polling, self._again, self._woken, self._slept = None, 0.0, False, False, False

    def _check(self) -> None:
        """Check that these directories are still the watched ones."""
        for directory, watcher in self._watchers.items():
            watcher.open()
            if watcher.problem is not None:
                self._give_up(f"{clean(str(directory))}: cannot be watched")
                return

    def _give_up(self, why: str) -> None:
        self._pause()
        self._polling = 0.0
        self._no_events, self._no_events_until = why, time.monotonic() + RETRY
        self._stopped.wait(POLL)

    def _on_change(self, names: Iterable[bytes] | None) -> None:
        self._others += 1
        if names is None or any(map(self._concerns, names)) or self._others > _MANY:
            self._others = 0
            self._event.set()


def _why_no_events(directory: Path) -> str | None:
    if not os.access(directory, os.R_OK | os.X_OK):  # watchdog itself reports no error
        return f"{clean(str(directory))}: cannot be watched: it does not exist, or eximcertd may not list it"
    if is_remote(directory):
        return (
            f"{clean(str(directory))}: is on a network file system, which does not report the changes of other machines"
        )
    return None


def _close(watchers: Iterable[DirectoryWatcher]) -> None:
    for one in watchers:
        one.close()
