"""An observer of watchdog that closes no descriptors of other files.

Old versions of watchdog close their inotify descriptor while a thread may still read from it, and twice if the
directory is removed while the watch is being removed (seen with strace, with 2.2.1, at each try). By then the number
can belong to another file: the ledger, a log. They leak the descriptor of a watch that fails.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from watchdog.observers import Observer, inotify_c
from watchdog.observers.api import BaseObserver


def observer() -> Any:
    """Return a new observer, not yet started."""
    inotify = getattr(inotify_c, "Inotify", None)
    if inotify is None or hasattr(inotify, "_close_resources"):  # it waits for its reader
        return Observer()
    return BaseObserver(emitter_class=import_module("eximcertd.certificates.oldwatchdog").Emitter)
