"""Keeps an index in step with its directory: looks when something changes, and slowly all the same.

An event only means "go and look", at the name that it tells; what is then found is all that counts. Under the
events lies a whole look every few minutes, since events get lost: queues overflow in silence, a directory that
is removed and made again goes deaf, targets of links lie elsewhere, network file systems tell nothing.
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
"""Seconds between whole looks where no events can be had."""

MISSING_RESCAN: Final = 2.0
"""Seconds between looks at a directory that cannot be read."""

_GATHER: Final = 0.01
"""Seconds from the first event to the look: what comes in one go is looked at together."""

_SHARE: Final = 4
"""After a look at what changed, so many times its length pass before the next: at most a fifth of a core."""

_LONGEST_REST: Final = 1.0
_NEVER: Final = float("inf")

_MOST_NAMES: Final = 1000
_JOIN: Final = 5.0


class CertificateWatcher:
    """A thread that refreshes ``index`` and calls ``deliver``, in that thread.

    ``deliver`` is called once after the first whole look, even if that changed nothing (what the cache kept is no
    change): from then on the index can be relied on. After that it is called for every change.
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
        """Why changes are only seen by a slow look, or not at all; None where all is well."""
        if self._ended and not self._stop.is_set():
            return "the watch over the certificate directory has ended: restart eximcertd"
        return self._watcher.problem

    def start(self) -> None:
        """Begin: what the cache kept, then a whole look, then whatever changes. Returns at once."""
        self._thread.start()

    def look(self) -> None:
        """Ask for a whole look now; from any thread."""
        self._heard(None)

    def stop(self) -> None:
        """End the watch; returns once its threads have ended, or after a few seconds where a disk is stuck."""
        with self._wake:
            self._stop.set()
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_JOIN)

    def _heard(self, names: Iterable[bytes] | None) -> None:
        """Take in that these names, or None: anything, may have changed; from any thread."""
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
        """Wait for something to look at, at most until that time; return whether to go on."""
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
