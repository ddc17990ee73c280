"""What the publisher is asked and what it answers, as bytes and as values. Pure.

A request, ASCII lines, each ending in a newline:

    eximcertd-publish 1
    verify                       or: form list, or: form directory
    standing DIGEST              optional: SHA-256 (lower-case hex) of the macro file as last seen, "-" if absent
    count N                      with form list: how many fingerprints follow; with form directory: 0
    FINGERPRINT                  N times, ascending, no two alike
    end

An answer, one JSON object and a newline: the fields of Answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from eximcertd.fingerprint import LENGTH, NEVER, Fingerprint

FIRST_LINE: Final = b"eximcertd-publish 1"
ABSENT: Final = "-"
"""The digest of a file that is not there."""

LARGEST_COUNT: Final = 1_000_000
LARGEST_REQUEST: Final = 512 + (LENGTH + 1) * LARGEST_COUNT
LARGEST_ANSWER: Final = 128 << 20

LIVE: Final = "live"
VERIFIED: Final = "verified"
NOT_RUNNING: Final = "not-running"
CHANGED: Final = "changed"
REFUSED: Final = "refused"
FAILED: Final = "failed"
DIED: Final = "died"
UNREACHABLE: Final = "unreachable"
UNKNOWN: Final = "unknown"
OUTCOMES: Final = (LIVE, VERIFIED, NOT_RUNNING, CHANGED, REFUSED, FAILED, DIED, UNREACHABLE, UNKNOWN)


class RequestError(ValueError):
    """The request is odd, and refused whole; the message says where, in a sentence."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. form: "list" or "directory" to publish, None to verify.

    fingerprints: ascending, no two alike; empty unless form is "list".
    standing: the digest of the macro file that the asker has seen (ABSENT: there was none), or None: any.
    """

    form: str | None
    fingerprints: tuple[Fingerprint, ...] = ()
    standing: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The macro file as it stands now.

    form: "list", "directory", or "absent". fingerprints: in the list form, in the order of the file.
    digest: SHA-256 of the file, lower-case hex, or ABSENT. comments: its ``#`` lines that will be kept.
    due: a publication was begun that Exim was never seen to have loaded.
    corrected: those of the fingerprints that stand there in a spelling that Exim never matches.
    dropped: hashes that stand there and may never be approved; they are not among the fingerprints.
    """

    form: str
    fingerprints: tuple[Fingerprint, ...] = ()
    digest: str = ABSENT
    comments: tuple[str, ...] = ()
    due: bool = False
    corrected: tuple[Fingerprint, ...] = ()
    dropped: tuple[Fingerprint, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request.

    outcome, one of OUTCOMES:
        live         what was asked for stands, and Exim was seen to have loaded it (or need not load anything)
        verified     answer to verify: the file and the whole configuration pass
        not-running  it stands; no Exim daemon runs, so there was nothing to signal
        changed      the file is not what ``standing`` said: nothing was done, see found
        refused      a limit, an odd request or an unsafe file: nothing was done
        failed       a step failed, the previous file stands (or, with found.due, what was asked for stands
                     and Exim was not yet seen to have loaded it); Exim got no HUP on what did not pass
        died         Exim is gone after a HUP: EXIM IS DOWN (unless ``restarted``); the previous file was put back
        unreachable  the publisher could not be asked, so nothing was done (said by the client)
        unknown      it was asked and gave no answer that can be read: it may have been done (said by the client)
    step: which step failed, or "". message: what happened and what to do. exim: Exim's own words.
    rewritten_by: the site's macro that rewrites fingerprints, where that is what failed.
    found: the file as it stands now, or None where it could not be read.
    file: the macro file's path, or "". exim_pid: the daemon, if one was found.
    loaded_at: when it was seen to have loaded the file, in seconds since the epoch.
    restarted: after "died", whether Exim was brought back.
    retry_after: seconds until a limit lets the same request through, where that is what refused it.
    timings: seconds that each step took.
    """

    outcome: str
    step: str = ""
    message: str = ""
    exim: str = ""
    rewritten_by: str | None = None
    found: Found | None = None
    file: str = ""
    exim_pid: int | None = None
    loaded_at: float | None = None
    restarted: bool = False
    retry_after: float | None = None
    timings: dict[str, float] = field(default_factory=dict)


def encode(request: Request) -> bytes:
    """Return the request's bytes."""
    lines = [FIRST_LINE, b"verify" if request.form is None else b"form " + request.form.encode()]
    if request.standing is not None:
        lines.append(b"standing " + request.standing.encode())
    if request.form is not None:
        lines.append(b"count %d" % len(request.fingerprints))
        lines.extend(fingerprint.encode() for fingerprint in request.fingerprints)
    return b"\n".join([*lines, b"end", b""])


def decode(raw: bytes) -> Request:
    """Return the request that ``raw`` is, every byte of it checked. Raises RequestError."""
    asked, *lines = _framed(raw)
    number, standing = 3, None
    if lines and lines[0].startswith(b"standing "):
        digest = re.fullmatch(rb"standing (-|[0-9a-f]{64})", lines.pop(0))
        if digest is None:
            raise RequestError("line 3 holds no digest: expected 64 lower-case hex digits or '-'")
        number, standing = 4, digest[1].decode()
    if asked == b"verify":
        if lines:
            raise RequestError(f"line {number}: nothing but 'standing' may follow 'verify'")
        return Request(None, (), standing)
    if asked not in (b"form list", b"form directory"):
        raise RequestError("line 2 is none of 'verify', 'form list' and 'form directory'")
    count = re.fullmatch(rb"count (0|[1-9][0-9]{0,6})", lines.pop(0)) if lines else None
    if count is None:
        raise RequestError(f"line {number} is no 'count N'")
    form = asked.decode().removeprefix("form ")
    return Request(form, _fingerprints(form, lines, int(count[1]), number + 1), standing)


def _framed(raw: bytes) -> list[bytes]:
    """Return the lines between the first and the last, at least one."""
    if len(raw) > LARGEST_REQUEST:
        raise RequestError(f"the request is larger than {LARGEST_REQUEST} bytes")
    if not raw.endswith(b"\n"):
        raise RequestError("the request does not end with a whole line")
    first, *between, last = raw.split(b"\n")[:-1] if raw.count(b"\n") > 1 else [raw, b""]
    if first != FIRST_LINE:
        raise RequestError(f"line 1 is not {FIRST_LINE.decode()!r}")
    if last != b"end":
        raise RequestError("the last line is not 'end': the request was cut off")
    if not between:
        raise RequestError("the request asks for nothing")
    return between


def _fingerprints(form: str, lines: list[bytes], count: int, first: int) -> tuple[Fingerprint, ...]:
    if len(lines) != count:
        raise RequestError(f"{count} fingerprints are announced and {len(lines)} follow")
    if form == "directory" and count:
        raise RequestError("the directory form carries no fingerprints")
    exact = re.compile(rb"[0-9A-F]{%d}" % LENGTH)
    before = b""
    for number, line in enumerate(lines, first):
        if exact.fullmatch(line) is None:
            raise RequestError(f"line {number} is no fingerprint of {LENGTH} upper-case hex digits")
        if line <= before:
            raise RequestError(f"line {number}: the fingerprints are not ascending, or one stands twice")
        before = line
        if line.decode() in NEVER:
            raise RequestError(
                f"line {number}: {line.decode()} may never be approved: {NEVER[Fingerprint(line.decode())]}"
            )
    return tuple(Fingerprint(line.decode()) for line in lines)


def encode_answer(answer: Answer) -> bytes:
    """Return the answer's bytes: one line of JSON."""
    return json.dumps(asdict(answer), separators=(",", ":")).encode() + b"\n"


def decode_answer(raw: bytes) -> Answer:
    """Return the answer that ``raw`` is. Raises ValueError if it is none."""
    if not raw.endswith(b"\n"):
        raise ValueError("the answer does not end with a whole line")
    try:
        fields: dict[str, Any] = json.loads(raw)
        found = fields.pop("found", None)
        if found is not None:
            for name in ("fingerprints", "comments", "corrected", "dropped"):
                found[name] = tuple(found.get(name, ()))
            found = Found(**found)
        answer = Answer(found=found, **fields)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError("the answer is no object of the fields that were expected") from error
    if answer.outcome not in OUTCOMES:
        raise ValueError(f"the outcome {str(answer.outcome)[:40]!r} is unknown")
    return answer
