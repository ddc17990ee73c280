"""The methods of the control socket, by subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eximcertd.control.methods.authorities import AuthorityMethods
from eximcertd.control.methods.changes import Changes
from eximcertd.control.methods.questions import Questions
from eximcertd.control.methods.scans import Scans
from eximcertd.control.methods.services import Services

if TYPE_CHECKING:
    from eximcertd.control.methods.watching import Watching
    from eximcertd.control.server import Handler

__all__ = ["Services", "handlers"]


def handlers(services: Services, watching: Watching) -> dict[str, Handler]:
    """Return every method's handler, by its name in the interface."""
    questions, changes, scans = Questions(services), Changes(services), Scans(services)
    authorities = AuthorityMethods(services, changes)
    return {
        "AddAuthority": authorities.add,
        "WithdrawAuthority": authorities.withdraw,
        "Authorities": authorities.authorities,
        "Status": questions.status,
        "List": questions.entries,
        "Count": questions.count,
        "Show": questions.show,
        "Issuers": questions.issuers,
        "Find": questions.find,
        "Complete": questions.complete,
        "GetCertificate": questions.certificate,
        "History": questions.history,
        "Check": questions.check,
        "Watch": watching.watch,
        "Edits": questions.edits,
        "Decide": changes.decide,
        "Last": changes.last,
        "Export": changes.export,
        "Import": changes.import_,
        "Retry": changes.retry,
        "Segments": scans.segments,
        "Record": scans.record,
    }
