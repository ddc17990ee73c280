"""The methods of the control socket: what eximcertd answers, by subject."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from eximcertd.methods.changes import Changes
from eximcertd.methods.questions import Questions
from eximcertd.methods.rooms import Rooms
from eximcertd.methods.scans import Scans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.control.server import Handler
    from eximcertd.fingerprint import Fingerprint

__all__ = ["Methods", "Rooms"]


class Methods:
    """The handlers, by their names in the interface."""

    def __init__(self, rooms: Rooms) -> None:
        self._questions, self._changes, self._scans = Questions(rooms), Changes(rooms), Scans(rooms)
        # told later: nothing that a watcher is told may keep a decision from being published
        later = asyncio.get_running_loop().call_soon

        def decided(changed: Sequence[Fingerprint]) -> None:
            later(self.tell, "decided", changed)

        rooms.deciding.watchers.append(decided)

    def tell(self, kind: str, fingerprints: Sequence[Fingerprint]) -> None:
        """Tell those who watch that something happened."""
        self._questions.tell(kind, fingerprints)

    def handlers(self) -> dict[str, Handler]:
        """Return every method's handler."""
        questions, changes, scans = self._questions, self._changes, self._scans
        return {
            "Status": questions.status,
            "List": questions.entries,
            "Show": questions.show,
            "History": questions.history,
            "Check": questions.check,
            "Watch": questions.watch,
            "Decide": changes.decide,
            "Export": changes.export,
            "Import": changes.import_,
            "Retry": changes.retry,
            "Segments": scans.segments,
            "Record": scans.record,
        }
