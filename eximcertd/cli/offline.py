"""The actions of eximcertctl as root without eximcertd: revoke while it is down, and override max_shrink.

They depend on what root typed and on the macro file, never on an answer of eximcertd; but for a withdrawn authority, of
which eximcertd alone knows the fingerprints.

A revocation is first written to STATE/offline, from which the ledger takes it at the next start; then the list is
published without it, and then the files in STATE/allowed are removed.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import stat
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.arguments import prefixes
from eximcertd.cli.decision import check_root
from eximcertd.cli.output import say
from eximcertd.control.caller import name_of
from eximcertd.errors import EximcertdError, NoAnswerError, NoSuchFingerprintError, UsageError
from eximcertd.fingerprint import Fingerprint, is_exact
from eximcertd.publication import attempt as attempts
from eximcertd.publication.ask import PUBLISH, RELOAD, Programs
from eximcertd.publication.attempt import LIVE, Attempt, Wanted
from eximcertd.publish.request import CHANGED, DONE, Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from io import FileIO
    from pathlib import Path

    from eximcertd.cli.context import Context
    from eximcertd.publish.request import Answer, Found
    from eximcertd.settings import Config

_TIME_LIMIT: Final = 600.0
_TRIES: Final = 3
_MOST_CANDIDATES: Final = 20


def _programs(config: Config) -> Programs:
    """Return the two programs, run by root itself and without max_shrink. The reload part becomes Exim's user."""
    run = config.publish._replace(via=f"command:{PUBLISH}", reload_via=f"command:{RELOAD}")
    return Programs(config._replace(publish=run), _TIME_LIMIT, ["--allow-shrink"])


def override_shrink(context: Context, asked: Sequence[str], approved: Collection[str] | None = None) -> bool:
    """Write the present list without the given fingerprints, without max_shrink; tell whether it was written.

    approved: without all but these, and not without ``asked``. To be called once eximcertd has decided and could not
    publish. Raises EximcertdError.
    """

    async def write() -> Answer:
        programs = _programs(context.config())
        answer = await programs.publish(Request("read"))
        for _ in range(_TRIES):
            if answer.found is None or answer.found.form != "list":
                break
            listed = set(answer.found.fingerprints)
            gone = _resolve(asked, listed, absent=True) if approved is None else listed.difference(approved)
            left = _without(answer.found, gone)
            answer = await programs.publish(Request("write list", answer.found.digest, left))
            if answer.outcome != CHANGED:
                break
        return answer

    answer = asyncio.run(write())
    if answer.outcome != DONE:
        raise EximcertdError(f"the list could not be written: {answer.message}")
    return answer.changed


def revoke(context: Context, asked: Sequence[str], note: str) -> dict[str, Any]:
    """Revoke without eximcertd; return an answer as Decide gives it.

    Raises UsageError if eximcertd runs, NoSuchFingerprintError, NotPermittedError, EximcertdError.
    """
    check_root("--offline")
    _check_down(context)
    return asyncio.run(_revoke(context, asked, note))


async def _revoke(context: Context, asked: Sequence[str], note: str) -> dict[str, Any]:
    config = context.config()
    programs = _programs(config)
    looked = attempts.of_publish(await programs.publish(Request("read")))
    if looked.found is None:
        raise EximcertdError(f"the macro file cannot be read: {looked.message}", hint="see eximcertctl check")
    allowed = _allowed(config.allowed)
    chosen = _resolve(asked, {*looked.found.fingerprints, *allowed})
    decisions = _write_down(config.state.directory / "offline", chosen, note)
    tried = looked._replace(outcome=LIVE)
    if looked.found.form == "list" and chosen & set(looked.found.fingerprints):
        tried = await _publish(programs, looked.found, chosen, config.allowed)
    kept = _remove(config.allowed, chosen & allowed)
    if kept:
        honoured = looked.found.form == "directory"
        tried = tried._replace(
            outcome="failed" if honoured and tried.live else tried.outcome,
            message=f"{tried.message} Could not be removed: {'; '.join(kept)}.".lstrip(),
        )
        if tried.live:  # else the message is shown
            say(tried.message, err=True)
    return {"decided": [_entry(decision) for decision in decisions], "publication": _publication(tried)}


async def _publish(programs: Programs, found: Found, chosen: Collection[Fingerprint], allowed: Path) -> Attempt:
    for _ in range(_TRIES):
        tried = await attempts.publish(programs, Wanted("list", _without(found, chosen), allowed), found, ("", 0, 0))
        if tried.outcome != CHANGED or tried.found is None:
            break
        found = tried.found
    return tried


def _without(found: Found, chosen: Collection[Fingerprint]) -> tuple[Fingerprint, ...]:
    return tuple(sorted(set(found.fingerprints).difference(chosen)))


def _check_down(context: Context) -> None:
    try:
        with context.client() as client:
            client.call("Status")
    except NoAnswerError:
        return
    except EximcertdError:
        pass  # any answer shows that it runs
    raise UsageError("eximcertd is running", hint="leave --offline out: it revokes at once")


def _allowed(directory: Path) -> frozenset[Fingerprint]:
    """Return the names in the directory that are fingerprints, of files of any type."""
    try:
        return frozenset(map(Fingerprint, filter(is_exact, os.listdir(directory))))  # noqa: PTH208 - names, a million
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise EximcertdError(f"{directory}: cannot be read: {error.strerror}") from error


def _resolve(asked: Iterable[str], known: Collection[Fingerprint], *, absent: bool = False) -> frozenset[Fingerprint]:
    """Return the requested fingerprints. absent: an unknown one is left out. Raises EximcertdError."""
    found = set()
    for prefix in prefixes(asked):
        matching = sorted(name for name in known if name.startswith(prefix))
        if absent and not matching:
            continue
        if len(matching) != 1:
            why = "more than one allowed fingerprint begins with" if matching else "no allowed fingerprint begins with"
            raise NoSuchFingerprintError(f"{why} {prefix}", candidates=matching[:_MOST_CANDIDATES])
        found.add(matching[0])
    return frozenset(found)


def _write_down(file: Path, chosen: Iterable[str], note: str) -> list[dict[str, Any]]:
    """Append the decisions to root's file, whole lines only, on the disk before this returns."""
    decisions = [
        {
            "request": str(uuid.uuid4()),
            "verb": "revoke",
            "fingerprint": fingerprint,
            "by": name_of(os.getuid(), os.getpid()),
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "note": note,
        }
        for fingerprint in sorted(chosen)
    ]
    text = "".join(json.dumps(decision) + "\n" for decision in decisions).encode()
    try:
        number = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        with os.fdopen(number, "r+b", buffering=0) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            there = os.fstat(number)
            if not stat.S_ISREG(there.st_mode) or there.st_uid != os.geteuid() or there.st_mode & 0o022:
                raise EximcertdError(
                    f"{file} is not a regular file that only root can write",
                    hint="find out who made it, move it away, and run this again",
                )
            # An incomplete line, after a power cut, was never reported as done.
            whole = stream.read().rfind(b"\n") + 1
            stream.truncate(whole)
            stream.seek(whole)
            _write_whole(stream, whole, text)
            os.fchmod(number, 0o644)
            os.fsync(number)
        _sync(file.parent)
    except OSError as error:
        raise EximcertdError(f"{file}: the decision cannot be written down: {error.strerror}") from error
    return decisions


def _write_whole(stream: FileIO, start: int, text: bytes) -> None:
    """Write all of it or nothing: a full disk may take a part without an error. Raises OSError."""
    if stream.write(text) != len(text):
        stream.truncate(start)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _remove(directory: Path, names: Iterable[str]) -> list[str]:
    """Remove files; return what could not be removed, each with the reason."""
    kept = []
    for name in sorted(names):
        try:
            with suppress(FileNotFoundError, IsADirectoryError):  # Exim does not count a directory of this name
                (directory / name).unlink()
        except OSError as error:
            kept.append(f"{directory / name}: {error.strerror}")
    try:
        if directory.exists():
            _sync(directory)
    except OSError as error:
        kept.append(f"{directory}: {error.strerror}")
    return kept


def _sync(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _entry(decision: dict[str, Any]) -> dict[str, Any]:
    unknown = ("certificate", "first_seen", "last_seen", "from", "renews", "revoke_at")
    return {
        "fingerprint": decision["fingerprint"],
        "standing": "revoked",
        "attempts": 0,
        "warnings": [],
        "same_name": [],
        "decision": {key: decision[key] for key in ("verb", "by", "at", "note")},
        **dict.fromkeys(unknown),
    }


def _publication(tried: Attempt) -> dict[str, Any]:
    times = [daemon.loaded_at for daemon in tried.daemons if daemon.loaded_at is not None]
    return {
        "live": tried.live,
        "form": tried.found.form if tried.found else "",
        "revision": 0,
        "outcome": tried.outcome,
        "step": tried.step,
        "message": tried.message,
        "exim": tried.exim,
        "retry": "eximcertd publishes it at its next start.",
        "exim_pid": tried.daemons[0].pid if tried.daemons else None,
        "loaded_at": datetime.fromtimestamp(max(times), UTC).isoformat() if times else None,
    }
