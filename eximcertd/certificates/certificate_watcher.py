"""Keeps an index up to date with its directory: looks when something changes, and every few minutes.

An event only names a file to look at; the result depends on the file alone. A whole look every few minutes is needed
because events get lost: queues overflow without notice, a directory that is removed and made again reports nothing,
targets of links are in other directories, and network file systems report no changes of other machines.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.directory_watcher import DirectoryWatcher
from eximcertd.certificates.snapshot import GRACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from eximcertd.certificates.index import CertificateChanges, Index

RESCAN: Final = 300.0
"""Seconds between whole looks."""

DEAF_RESCAN: Final = 30.0
"""Seconds between whole looks where there are no events."""

MISSING_RESCAN: Final = 2.0
"""Seconds between looks at a directory that cannot be read."""

_GATHER: Final = 0.01
"""Seconds from the first event to the look, for events that belong together."""

_SHARE: Final = 4
"""After a look at what changed, the thread waits so many times its duration: at most a fifth of a core."""

_LONGEST_REST: Final = 1.0
_NEVER: Final = float("inf")

_MOST_NAMES: Final = 1000
_JOIN: Final = 5.0


class CertificateWatcher:
    """A thread that refreshes ``index`` and calls ``deliver``, in that thread.

    ``deliver`` is called once after the first whole look, even if that changed nothing: from then on the index is
    complete. After that it is called for every change.
    rescan: seconds between whole looks.
    """

    def __init__(self, index: Index, deliver: Callable[[CertificateChanges], None], *, rescan: float = RESCAN) -> None:
        self._index = index
        self._deliver = deliver
        self._rescan = rescan
        self._wake = threading.Condition()
        self._names: set[bytes] = set()
        self._whole = True
        self._stop = threading.Event()
        self._watcher = DirectoryWatcher(index.directory, self._heard)
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)
        self._ended = False

    @property
    def problem(self) -> str | None:
        """Why changes are seen late or not at all, or None."""
        if self._ended and not self._stop.is_set():
            return "the certificate directory is not watched any more: restart eximcertd"
        return self._watcher.problem

    def start(self) -> None:
        """Begin with what the cache kept, then a whole look, then the changes. Returns at once."""
        self._thread.start()

    def look(self) -> None:
        """Request a whole look now; from any thread."""
        self._heard(None)

    def stop(self) -> None:
        """Stop; returns when the threads have ended, or after a few seconds if a disk blocks."""
        with self._wake:
            self._stop.set()
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_JOIN)

    def _heard(self, names: Iterable[bytes] | None) -> None:
        """Note that these names (None: any) may have changed; from any thread."""
        with self._wake:
            if names is None:
                self._whole = True
            else:
                self._names.update(names)
            self._wake.notify_all()

    def _run(self) -> None:
        try:
            self._index.restore()
            self._follow()
        finally:
            self._ended = True
            self._watcher.close()
            self._index.save()

    def _follow(self) -> None:
        first = True
        whole_at, settle_at, rest_until = 0.0, _NEVER, 0.0
        while self._wait(min(whole_at, settle_at)):
            if not first and self._stop.wait(max(_GATHER, rest_until - time.monotonic())):
                return
            begun = time.monotonic()
            due, settle = begun >= whole_at, begun >= settle_at
            names = self._taken(due=due, settle=settle)
            if names is None:
                self._watcher.open()
            changes = self._index.refresh(names)
            if changes or first:
                self._deliver(changes)
            looked_at = time.monotonic()
            if not due:
                rest_until = looked_at + min(_SHARE * (looked_at - begun), _LONGEST_REST)
            if names is None:
                self._index.save()
                whole_at = looked_at + self._pause()
            if self._index.problem is not None:
                whole_at = min(whole_at, looked_at + MISSING_RESCAN)
            if not self._index.unsettled():
                settle_at = _NEVER
            elif settle or due or settle_at == _NEVER:
                settle_at = looked_at + GRACE
            first = False

    def _pause(self) -> float:
        return min(self._rescan, DEAF_RESCAN) if self._watcher.problem else self._rescan

    def _wait(self, until: float) -> bool:
        """Wait for something to look at, at most until that time; return False to stop."""
        with self._wake:
            while not (self._stop.is_set() or self._whole or self._names):
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._wake.wait(left)
            return not self._stop.is_set()

    def _taken(self, *, due: bool, settle: bool) -> frozenset[bytes] | None:
        """Return the names to look at now, None for all of them."""
        with self._wake:
            names = self._names
            whole = self._whole or due or len(names) > _MOST_NAMES
            self._names, self._whole = set(), False
        if whole:
            return None
        return frozenset(names | self._index.unsettled() if settle else names)
