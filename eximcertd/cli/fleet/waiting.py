"""Waiting until Exims honour an act: this machine's, or so many of the fleet's relays."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd.cli.formatting import count
from eximcertd.errors import UsageError
from eximcertd.fleet.remote import RemoteError

if TYPE_CHECKING:
    from eximcertd.acts.act import Act
    from eximcertd.cli.fleet.connection import DeskConnection, ThisRelay
    from eximcertd.fleet.remote import Report

LIMIT: Final = 120.0
_LOOK_HERE: Final = 0.1  # seconds
_LOOK_THERE: Final = 0.5
_MOST_NAMED: Final = 10


class Wait(NamedTuple):
    """What to wait for. relays: "all", "quorum", a number of relays, or "" for this machine's. limit: seconds."""

    relays: str = ""
    limit: float = LIMIT


def needed(relays: str, there: int) -> int:
    """Return how many of the fleet's relays are meant. Raises UsageError."""
    if relays == "all":
        return there
    if relays == "quorum":
        return there // 2 + 1
    number = int(relays) if relays.isascii() and relays.isdecimal() and len(relays) < 7 else 0  # noqa: PLR2004
    if not 0 < number <= there:
        raise UsageError(f"--wait {relays!r}: expected all, quorum or a number; the fleet has {count(there, 'relay')}")
    return number


def honoured(connection: DeskConnection, here: ThisRelay, act: Act, wait: Wait) -> dict[str, Any]:
    """Return a Publication of the interface, once what was asked for honours the act or the time is over."""
    if wait.relays:
        return _by_relays(connection, act, wait)
    return _by_this(here, act.generation, time.monotonic() + wait.limit)


def _by_this(here: ThisRelay, generation: int, end: float) -> dict[str, Any]:
    while True:
        status = here.status()
        if status is None:
            return publication(
                live=False,
                message="eximcertd does not answer: what Exim does on this machine is not known.",
                retry="eximcertctl fleet shows what the relays have.",
            )
        if status["held"] is not None and status["held"] <= generation:
            return publication(
                live=False,
                message=f"Act {status['held']} waits on this relay: it removes more than [publish] max_shrink allows.",
                retry=f"To have it taken: eximcertctl fleet accept {status['held']}",
            )
        left = end - time.monotonic()
        if status["generation"] >= generation:
            found = here.retry(max(left, 1.0))
            if status["live"] >= generation:  # it was live before: the ledger has all of the act
                return found or publication(live=True, message="Exim honours it on this relay.")
            if found and not found["live"]:
                return found
        if left <= 0:
            link = status["link"] or {}
            problem = f": {link['problem']}" if link.get("problem") else ""
            return publication(
                live=False,
                message=f"This relay is at act {status['generation']} of {generation}{problem}.",
                retry="It takes the acts by itself when it can.",
            )
        time.sleep(_LOOK_HERE)


def _by_relays(connection: DeskConnection, act: Act, wait: Wait) -> dict[str, Any]:
    """Wait until enough relays have reported that their Exim honours the act."""
    end = time.monotonic() + wait.limit
    problem, live, waiting, enough = "", list[str](), list[str](), 0
    while True:
        try:
            relays = connection.desk.relays()
            newest = connection.desk.head().generation  # after the reports: who has more follows another chain
            live = [one.name for one in relays if one.report and _honours(one.report, act.generation, newest)]
            waiting = [one.name for one in relays if one.name not in live]
            enough = needed(wait.relays, len(relays))
            problem = ""
            if len(live) >= enough and _in_chain(connection, act):
                done = f"Exim honours it on {len(live)} of {len(relays)} relays."
                return publication(live=True, message=done, relays={"live": live, "waiting": waiting})
        except (RemoteError, UsageError) as error:  # the second: a relay was removed
            problem = f" {error.message}."
            connection.close()
        if time.monotonic() > end:
            break
        time.sleep(_LOOK_THERE)
    counted = f"{len(live)} of {len(live) + len(waiting)} relays honour it; {enough} were asked for."
    more = f" and {len(waiting) - _MOST_NAMED} more" if waiting[_MOST_NAMED:] else ""
    named = f" Not yet: {', '.join(waiting[:_MOST_NAMED])}{more}." if waiting else ""
    return publication(
        live=False,
        message=f"{counted}{named}{problem}",
        retry="eximcertctl fleet shows each.",
        relays={"live": live, "waiting": waiting},
    )


def _honours(report: Report, generation: int, newest: int) -> bool:
    return generation <= report.live <= report.received <= newest


def _in_chain(connection: DeskConnection, act: Act) -> bool:
    """Tell whether the chain still has the act: a database that went back has another one of this number."""
    return any(one.hash() == act.hash() for one in connection.desk.acts(act.generation - 1, 1))


def publication(
    *, live: bool, message: str, retry: str = "", relays: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """Return a Publication of the interface; relays: beside it, those that honour the act and those that do not."""
    return {
        "live": live,
        "form": "",
        "revision": 0,
        "outcome": "fleet",
        "step": "",
        "message": message,
        "exim": "",
        "retry": retry,
        "exim_pid": None,
        "loaded_at": None,
        "relays": relays,
    }
