"""The result of the last publication. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eximcertd.publication.attempt import LIVE
from eximcertd.reload.request import NOT_RUNNING

if TYPE_CHECKING:
    from eximcertd.reload.request import DaemonState


@dataclass(frozen=True, slots=True)
class PublicationState:
    """How the last publication ended. Times in seconds since the epoch.

    outcome: as in attempt.Attempt, "waiting" before the first. daemons: those that were seen to have loaded the list.
    retry_at: when it is tried again.
    """

    form: str = ""
    outcome: str = "waiting"
    step: str = ""
    message: str = ""
    exim: str = ""
    daemons: tuple[DaemonState, ...] = ()
    loaded_at: float | None = None
    retry_at: float | None = None

    @property
    def ok(self) -> bool:
        """Tell whether it succeeded."""
        return self.outcome in {LIVE, NOT_RUNNING}

    @property
    def exim_pid(self) -> int | None:
        """The process id of Exim's daemon, of the first one if there are several."""
        return self.daemons[0].pid if self.daemons else None
