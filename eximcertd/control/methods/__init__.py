"""The methods of the control socket: what eximcertd answers, by subject."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from eximcertd.control.methods.changes import Changes
from eximcertd.control.methods.questions import Questions
from eximcertd.control.methods.scans import Scans
from eximcertd.control.methods.services import Services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.control.server import Handler
    from eximcertd.fingerprint import Fingerprint

__all__ = ["Methods", "Services"]


class Methods:
    """The handlers, by their names in the interface."""

    def __init__(self, services: Services) -> None:
        self._questions, self._changes, self._scans = Questions(services), Changes(services), Scans(services)
        # told later: nothing that a watcher is told may keep a decision from being published
        later = asyncio.get_running_loop().call_soon

        def decided(changed: Sequence[Fingerprint]) -> None:
            later(self.tell, "decided", changed)

        services.deciding.watchers.append(decided)

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
