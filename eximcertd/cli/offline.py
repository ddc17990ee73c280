"""Root's own way past a daemon that is down, or past the limit on large revocations: eximcertd-publish, called by root.

The decision is written down first, in STATE/offline, for the ledger to learn of it at the next start;
then the fingerprint's file goes, and then the list is published without it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.arguments import prefixes
from eximcertd.control.caller import name_of
from eximcertd.errors import EximcertdError, NoAnswerError, NoSuchFingerprintError, NotPermittedError, UsageError
from eximcertd.fingerprint import is_exact
from eximcertd.publish.old_request import (
    CHANGED,
    LIVE,
    NOT_RUNNING,
    VERIFIED,
    Answer,
    Request,
    decode_answer,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from io import FileIO

    from eximcertd.cli.context import Context
    from eximcertd.fingerprint import Fingerprint

_PROGRAM: Final = "eximcertd-publish"
_TIME_LIMIT: Final = 600.0
_TRIES: Final = 3
_MOST_CANDIDATES: Final = 20


def grant_shrink(context: Context) -> None:
    """Leave root's word for one large shrink of the list. Raises NotPermittedError, EximcertdError."""
    _as_root("--large")
    answer = _run(context.config_file, ["--grant-shrink"], b"")
    if answer.outcome != VERIFIED:
        raise EximcertdError(f"root's word could not be left: {answer.message}")


def revoke(context: Context, asked: Sequence[str], note: str) -> dict[str, Any]:
    """Throw fingerprints out without the daemon; return an answer as Decide gives it.

    Raises UsageError if the daemon runs, NoSuchFingerprintError, NotPermittedError, EximcertdError.
    """
    _as_root("--offline")
    _daemon_is_down(context)
    state = context.config().state.directory
    answer = _run(context.config_file, ["--allow-shrink"], encode(Request(None)))
    if answer.found is None:
        raise EximcertdError(
            f"what Exim honours could not be looked at: {answer.message}", hint="see eximcertctl check"
        )
    allowed = _allowed(state / "allowed")
    chosen = _resolve(asked, {*answer.found.fingerprints, *allowed})
    decisions = _write_down(state / "offline", chosen, note)
    _remove(state / "allowed", chosen & allowed)
    if answer.found.form == "list" and chosen & set(answer.found.fingerprints):
        answer = _publish(context.config_file, answer, chosen)
    return {"decided": [_entry(decision) for decision in decisions], "publication": _publication(answer)}


def _publish(config: Path, seen: Answer, chosen: frozenset[Fingerprint]) -> Answer:
    for _ in range(_TRIES):
        if seen.found is None:
            break
        left = tuple(sorted(set(seen.found.fingerprints) - chosen))
        seen = _run(config, ["--allow-shrink"], encode(Request("list", left, seen.found.digest)))
        if seen.outcome != CHANGED:
            break
    return seen


def _as_root(option: str) -> None:
    if os.geteuid() != 0:
        raise NotPermittedError(f"{option} is root's", hint="sudo eximcertctl ...")


def _daemon_is_down(context: Context) -> None:
    try:
        with context.client() as client:
            client.call("Status")
    except NoAnswerError:
        return
    except EximcertdError:
        pass  # it answers, whatever it says
    raise UsageError("eximcertd runs", hint="leave --offline out: it revokes at once")


def _run(config: Path, options: list[str], raw: bytes) -> Answer:
    program = shutil.which(_PROGRAM, path=str(Path(sys.executable).parent)) or shutil.which(_PROGRAM)
    if program is None:
        raise EximcertdError(f"there is no program {_PROGRAM} on this machine")
    try:
        done = subprocess.run(
            [program, "--config", str(config), *options],
            input=raw,
            capture_output=True,
            timeout=_TIME_LIMIT,
            check=False,
        )
        return decode_answer(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise EximcertdError(f"{program} gave no answer that can be read: {error}") from error


def _allowed(directory: Path) -> frozenset[str]:
    try:
        return frozenset(name for name in os.listdir(directory) if is_exact(name))  # noqa: PTH208 - names, a million
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise EximcertdError(f"{directory}: cannot be read: {error.strerror}") from error


def _resolve(asked: Iterable[str], known: set[str]) -> frozenset[Any]:
    found = set()
    for prefix in prefixes(asked):
        fitting = sorted(name for name in known if name.startswith(prefix))
        if len(fitting) != 1:
            why = "more than one that Exim honours begins with" if fitting else "Exim honours none that begins with"
            raise NoSuchFingerprintError(f"{why} {prefix}", candidates=fitting[:_MOST_CANDIDATES])
        found.add(fitting[0])
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
                raise EximcertdError(f"{file}: this is no regular file that root alone can write", hint="look at it")
            # What a power cut left of a line was never said to be done.
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
    """Write all of it or nothing: a full disk takes a part without a word. Raises OSError."""
    if stream.write(text) != len(text):
        stream.truncate(start)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _remove(directory: Path, names: Iterable[str]) -> None:
    try:
        for name in names:
            with suppress(FileNotFoundError):
                (directory / name).unlink()
        if directory.exists():
            _sync(directory)
    except OSError as error:
        raise EximcertdError(
            f"{error.filename}: cannot be removed: {error.strerror}",
            hint="the decision is written down and counts from eximcertd's next start on",
        ) from error


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
        "decision": {key: decision[key] for key in ("verb", "by", "at", "note")},
        **dict.fromkeys(unknown),
    }


def _publication(answer: Answer) -> dict[str, Any]:
    loaded = answer.loaded_at
    form = answer.found.form if answer.found else ""
    return {
        "live": answer.outcome in {LIVE, NOT_RUNNING} or (answer.outcome == VERIFIED and form != "list"),
        "form": form,
        "revision": 0,
        "outcome": LIVE if answer.outcome == VERIFIED else answer.outcome,
        "step": answer.step,
        "message": answer.message,
        "exim": answer.exim,
        "retry": "eximcertd publishes it at its next start.",
        "exim_pid": answer.exim_pid,
        "loaded_at": None if loaded is None else datetime.fromtimestamp(loaded, UTC).isoformat(),
    }
