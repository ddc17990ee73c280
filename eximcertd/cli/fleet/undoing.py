"""The caller's own last act of the fleet, for undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.fleet.connection import DeskConnection
from eximcertd.cli.fleet.entries import decision
from eximcertd.cli.times import moment

if TYPE_CHECKING:
    from eximcertd.cli.context import Context

_MOST_SEARCHED: Final = 1000
"""Acts that are looked at, the newest."""


def later(context: Context, here: list[dict[str, Any]], current: bool) -> tuple[list[dict[str, Any]], bool]:
    """Return the caller's last decision, here or for the fleet, and whether nothing was decided on it since.

    here: DecisionRecords of the last one on this relay. Raises RemoteError.
    """
    with DeskConnection(context) as connection:
        desk = connection.desk
        who, last = desk.who(), desk.head().generation
        mine = [act for act in desk.acts(max(0, last - _MOST_SEARCHED), _MOST_SEARCHED) if act.by == who]
        if not mine:
            return here, current
        act, made = mine[-1], decision(mine[-1])
        before = moment(here[0]["at"]) if here else None
        at = moment(made["at"])
        if before and at and before > at:
            return here, current
        newest = desk.newest(act.fingerprints)
    return (
        [{"fingerprint": name, **made} for name in act.fingerprints],
        all(one.generation == act.generation for one in newest.values()),
    )
