"""watchdog over one directory: which names in it may have changed.

Faults of watchdog, each seen with 2.2.1 or 7.1: a watch on a link to a directory reports nothing, so the directory is
resolved first; a directory that is removed and made again is not watched any more while the observer still counts as
alive, so every ``open`` compares; newer versions report that we opened a file ourselves unless the events are selected;
removing a watch can raise in its thread, so the whole observer is replaced.
"""

from __future__ import annotations

import os
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

from watchdog import events

from eximcertd.certificates.observer import observer as new_observer
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_JOIN: Final = 2.0
_KINDS: Final = ("Created", "Modified", "Attrib", "Moved", "Deleted", "Closed")
_OURS: Final = {"opened", "closed_no_write"}


class DirectoryWatcher(events.FileSystemEventHandler):
    """Calls ``heard``, in its thread, with the names that may have changed in ``directory``, None for any."""

    def __init__(self, directory: Path, heard: Callable[[Iterable[bytes] | None], None]) -> None:
        self._directory = directory
        self._heard = heard
        self._observer: Any = None
        self._watched: tuple[bytes, int, int] | None = None
        self.removed = False
        """Whether the directory was removed, and the watch with it: one made again may have the same inode number."""
        self.problem: str | None = None
        """Why there are no events, or None."""

    def open(self) -> None:
        """Begin to watch, or check that it is still this directory that is watched."""
        try:
            resolved = self._directory.resolve(strict=True)
            status = resolved.stat()
            wanted = (os.fsencode(resolved), status.st_dev, status.st_ino)
            if wanted == self._watched and not self.removed and self._is_alive():
                return
            self.close()
            self._listen(resolved)
        except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads back to itself, or no more threads
            self.close()
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.problem = (
                f"{clean(str(self._directory))}: cannot be watched: {why}; eximcertd looks at it every half minute "
                "instead (if a limit is reached, raise fs.inotify.max_user_watches or max_user_instances)"
            )
            return
        self._watched = wanted
        self.problem = None

    def close(self) -> None:
        """Stop watching."""
        observer, self._observer, self._watched = self._observer, None, None
        if observer is not None:
            observer.stop()  # even if it was never started: newer versions have a thread from the beginning
            if observer.ident is not None:
                observer.join(_JOIN)

    def on_any_event(self, event: events.FileSystemEvent) -> None:
        """Report the names in the directory that an event is about."""
        if event.event_type in _OURS or self._watched is None:
            return
        directory = self._watched[0]
        names = set()
        for path in (event.src_path, getattr(event, "dest_path", "")):
            parent, _, name = os.fsencode(path or b"").rpartition(b"/")
            if parent == directory:
                names.add(name)
            elif parent + b"/" + name == directory and event.event_type == "deleted":
                self.removed = True
                self._heard(None)
        if names:
            self._heard(names)

    def _is_alive(self) -> bool:
        emitters = self._observer.emitters if self._observer is not None else ()
        return bool(emitters) and self._observer.is_alive() and all(emitter.is_alive() for emitter in emitters)

    def _listen(self, resolved: Path) -> None:
        observer: Any = new_observer()
        self._observer, self.removed = observer, False
        status = resolved.stat()
        self._watched = (os.fsencode(resolved), status.st_dev, status.st_ino)
        options: dict[str, Any] = {}
        if "event_filter" in signature(observer.schedule).parameters:
            kinds = [getattr(events, f"{what}{kind}Event", None) for what in ("File", "Dir") for kind in _KINDS]
            options["event_filter"] = [
                kind for kind in kinds if kind is not None and kind is not events.DirModifiedEvent
            ]
        observer.schedule(self, str(resolved), recursive=False, **options)
        observer.start()
