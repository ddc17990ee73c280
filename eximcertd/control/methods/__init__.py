"""The methods of the control socket, by subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eximcertd.control.methods.authorities import AuthorityMethods
from eximcertd.control.methods.changes import Changes
from eximcertd.control.methods.questions import Questions
from eximcertd.control.methods.scans import Scans
from eximcertd.control.methods.services import Services

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from eximcertd.control.methods.fleet import FleetMethods
    from eximcertd.control.methods.watching import Watching
    from eximcertd.control.server import Handler
    from eximcertd.journal import Recorder

__all__ = ["Services", "handlers"]


def handlers(
    services: Services, watching: Watching, recorder: Recorder
) -> tuple[dict[str, Handler], list[Callable[[], Coroutine[Any, Any, None]]]]:
    """Return every method's handler, by its name in the interface, and what must run in the loop beside them."""
    questions, changes, scans = Questions(services), Changes(services), Scans(services)
    authorities = AuthorityMethods(services, changes)
    fleet = _fleet(services, changes, authorities, recorder)
    questions.fleet = fleet.reports.report if fleet else None
    return {
        **(fleet.handlers() if fleet else {}),
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
    }, [fleet.run] if fleet else []


def _fleet(
    services: Services, changes: Changes, authorities: AuthorityMethods, recorder: Recorder
) -> FleetMethods | None:
    if services.ledger.fleet is None:
        return None
    from eximcertd.control.methods.fleet import FleetMethods  # noqa: PLC0415 - without a fleet none of it is imported

    return FleetMethods(services.ledger.fleet, services, changes, authorities, recorder)
