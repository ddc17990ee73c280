"""eximcertctl revoke."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.arguments import fingerprints_argument, prefixes
from eximcertd.cli.context import Context, json_option
from eximcertd.cli.decision import (
    ask,
    bind_option,
    check_root,
    chosen,
    exit_status,
    here_option,
    note_option,
    override_shrink,
    say_decision,
    yes_option,
)
from eximcertd.cli.formatting import count
from eximcertd.cli.output import print_json, say
from eximcertd.cli.times import moment
from eximcertd.errors import EximcertdError, Exit
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from eximcertd.exim.daemons import EximFacts

_MOST_NAMED: Final = 20
_ROOT: Final = 0


@click.command("revoke")
@fingerprints_argument
@note_option
@bind_option
@here_option
@click.option("--end-sessions", is_flag=True, help="End the open sessions that still use the old list.")
@click.option("--allow-shrink", "--large", is_flag=True, help="As root: override [publish] max_shrink.")
@click.option("--offline", is_flag=True, help="As root, while eximcertd is down: publish the list at once.")
@yes_option
@json_option
@click.pass_context
def command(  # noqa: PLR0917 - an argument for each option
    ctx: click.Context,
    fingerprints: tuple[str, ...],
    note: str,
    bind: str | None,
    here: bool,
    end_sessions: bool,
    allow_shrink: bool,
    offline: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Withdraw an approval. Returns when Exim no longer relays for the certificate.

    In the list form, an open session keeps the old list until it ends: such sessions are counted. Mail that
    Exim has already accepted is delivered: root sees such messages listed.
    """
    asked = prefixes(fingerprints) if offline else chosen(ctx.obj, "revoke", fingerprints, yes=yes)
    if allow_shrink:
        check_root("--allow-shrink")
    if offline:
        from eximcertd.cli.offline import revoke  # noqa: PLC0415 - only where it is needed

        answer = revoke(ctx.obj, asked, note)
    else:
        answer = ask(ctx.obj, "revoke", asked, note, bind=bind, here=here)
        if allow_shrink:
            override_shrink(ctx.obj, answer, asked)
    answer["sessions"] = _sessions(ctx.obj, answer["publication"], end_sessions)
    answer["queued"], unseen = _queued(ctx.obj, [entry["fingerprint"] for entry in answer["decided"]])
    if as_json:
        print_json(answer)
    else:
        say_decision(answer)
        _say_sessions(answer["sessions"])
        _say_queued(answer["queued"], unseen)
    status = exit_status(answer)
    failed = end_sessions and (answer["sessions"]["problem"] or answer["sessions"]["open"])
    ctx.exit(int(status or (Exit.FAILED if failed else Exit.DONE)))


def _sessions(context: Context, publication: dict[str, Any], end_them: bool) -> dict[str, Any]:
    """Return {open, ended, peers, problem}: sessions with the old list, and those of them that were ended."""
    from eximcertd.cli.sessions import end, older  # noqa: PLC0415 - only revoke's

    found: dict[str, Any] = {"open": 0, "ended": 0, "peers": [], "problem": None}
    if publication["form"] == "directory" and publication["live"]:
        return found  # open sessions look into the directory for each RCPT
    loaded = moment(publication["loaded_at"])
    if not publication["live"]:
        found["problem"] = "it is not known when Exim loads the new one"
        return found
    # The time may be to the second only: a session that began within that second counts as older.
    than = loaded.timestamp() + (0 if loaded.microsecond else 1) if loaded else time.time()
    try:
        sessions = older(_facts(context), than)
        found["open"] = len(sessions)
        found["peers"] = sorted({session.peer for session in sessions if session.peer})
        if end_them and sessions:
            found["ended"] = end(sessions)
            found["open"] = len(sessions) - found["ended"]
    except PermissionError:
        found["problem"] = "this user may not end Exim's sessions: run it as root"
    except EximcertdError as error:
        found["problem"] = error.message
    return found


def _facts(context: Context) -> EximFacts:
    """Return what Exim says of itself. Raises EximcertdError."""
    from eximcertd.exim.daemons import facts  # noqa: PLC0415 - only revoke's
    from eximcertd.exim.settings import Exim  # noqa: PLC0415 - the same

    config = context.config().exim
    return facts(Exim(config.binary, config.config))


def _queued(context: Context, fingerprints: Collection[str]) -> tuple[dict[str, str] | None, str]:
    """Return message id -> fingerprint of the queued messages, or None and why they cannot be listed."""
    from pathlib import Path  # noqa: PLC0415 - only revoke's

    from eximcertd.cli.spool import messages  # noqa: PLC0415 - the same
    from eximcertd.exim.settings import Exim  # noqa: PLC0415 - the same

    if os.geteuid() != _ROOT:
        return None, "to list them, run this command again as root"
    try:
        config = context.config().exim
        spool = Exim(config.binary, config.config).settings("spool_directory").get("spool_directory", "")
        return messages(Path(spool), fingerprints), ""
    except OSError as error:
        return None, f"{error.filename}: {error.strerror}"
    except EximcertdError as error:
        return None, error.message


def _say_sessions(sessions: dict[str, Any]) -> None:
    peers = f" (from {shown(', '.join(sessions['peers']), 200)})" if sessions["peers"] else ""
    if sessions["ended"]:
        say(f"{count(sessions['ended'], 'open session')} with the old list ended{peers}.")
    if sessions["open"]:
        still = f"{count(sessions['open'], 'open session')} still with the old list{peers}"
        say(f"{still}: --end-sessions ends them." if not sessions["ended"] else f"{still}.")
    if sessions["problem"]:
        say(f"Sessions with the old list may still be open: {sessions['problem']}.")


def _say_queued(queued: dict[str, str] | None, unseen: str) -> None:
    if queued is None:
        say(f"Messages that Exim accepted from it before may still be queued: {unseen}.")
    elif queued:
        names = sorted(queued)
        more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
        say(f"{count(len(names), 'message')} that Exim accepted from it before, still queued:")
        say(f"  {shown(' '.join(names[:_MOST_NAMED]))}{more}")
        say("  exim -Mrm MESSAGE removes one, exim -Mvh MESSAGE shows its header lines.")
