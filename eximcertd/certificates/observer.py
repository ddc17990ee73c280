"""An observer of watchdog's that closes nobody else's descriptors.

Before it learned to wait for its own reader, watchdog closed its inotify descriptor while a thread might still
read from it, and twice where the directory went away at the moment in which the watch was taken down (seen with
strace, with 2.2.1, at each try). By then the number could be another file's: a ledger's, a log's. A watch that
could not be had leaked its descriptor.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from watchdog.observers import Observer, inotify_c
from watchdog.observers.api import BaseObserver


def observer() -> Any:
    """Return a new observer, not yet started."""
    inotify = getattr(inotify_c, "Inotify", None)
    if inotify is None or hasattr(inotify, "_close_resources"):  # it waits
        return Observer()
    return BaseObserver(emitter_class=import_module("eximcertd.certificates.oldwatchdog").Emitter)
