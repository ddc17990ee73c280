"""An emitter for a watchdog that does not wait for its own reader (2.2.1 is Debian 12's); see observer.py.

It closes the inotify descriptor once, after the last read from it, and leaks none. To be imported with such a
watchdog only: newer ones have no such modules.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from typing import Any, Final

_c: Final[Any] = import_module("watchdog.observers.inotify_c")
_OldInotify: Final[Any] = _c.Inotify
_OldBuffer: Final[Any] = import_module("watchdog.observers.inotify_buffer").InotifyBuffer
_OldEmitter: Final[Any] = import_module("watchdog.observers.inotify").InotifyEmitter
_OldQueue: Final[Any] = import_module("watchdog.utils.delayed_queue").DelayedQueue


class _Inotify(_OldInotify):  # type: ignore[misc] # untyped there
    def __init__(self, path: bytes, *, recursive: bool) -> None:
        self._closing = threading.Lock()
        self._released = False
        try:
            super().__init__(path, recursive)
        except OSError:
            if hasattr(self, "_inotify_fd"):
                os.close(self._inotify_fd)
            raise

    def close(self) -> None:
        """Take the watch away, which ends the reader's last read."""
        with self._closing, self._lock:
            watch = self._wd_for_path.get(self._path)
            if watch is not None and not self._released:
                _c.inotify_rm_watch(self._inotify_fd, watch)

    def release(self) -> None:
        """Close the descriptor, once, when no thread reads from it any more."""
        with self._closing:
            self._released = True
            os.close(self._inotify_fd)


class _Buffer(_OldBuffer):  # type: ignore[misc] # the same
    def __init__(self, path: bytes, *, recursive: bool) -> None:
        super(_OldBuffer, self).__init__()
        self._queue: Any = _OldQueue(self.delay)
        self._inotify = _Inotify(path, recursive=recursive)
        self.start()

    def run(self) -> None:
        try:
            super().run()
        except KeyError:
            if self.should_keep_running():
                raise  # else it is an event of a watch that is taken away already
        finally:
            self._inotify.release()


class Emitter(_OldEmitter):  # type: ignore[misc] # the same
    """What an observer makes for each watch."""

    _inotify: _Buffer | None

    def on_thread_start(self) -> None:
        """Begin to watch."""
        self._inotify = _Buffer(os.fsencode(self.watch.path), recursive=self.watch.is_recursive)

    def on_thread_stop(self) -> None:
        """End it; the directory's end and our own may come together."""
        taken, self._inotify = self._inotify, None
        if taken is not None:
            taken.close()

    def queue_events(self, timeout: float, full_events: bool = False) -> None:
        """Wait for an event and pass it on."""
        try:
            super().queue_events(timeout, full_events)
        except AttributeError:
            if self._inotify is not None:
                raise  # else it is being stopped
