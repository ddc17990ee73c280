"""One line of a diagnosis. Pure."""

from __future__ import annotations

import subprocess
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Verdict(StrEnum):
    """OK: as it should be. WARNING: it works, look at it. ERROR: it fails or is unsafe. UNKNOWN: not visible."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CheckLine:
    """sentence: what was found. remedy: what to do, or "". With UNKNOWN, sentence names what was not visible."""

    verdict: Verdict
    sentence: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the object that --json prints."""
        return {key: str(value) for key, value in asdict(self).items()}


def ok(sentence: str) -> CheckLine:
    """Return a line about something that is as it should be."""
    return CheckLine(Verdict.OK, sentence)


def warning(sentence: str, remedy: str = "") -> CheckLine:
    """Return a line about something that works and needs a look."""
    return CheckLine(Verdict.WARNING, sentence, remedy)


def error(sentence: str, remedy: str) -> CheckLine:
    """Return a line about something that fails or is unsafe."""
    return CheckLine(Verdict.ERROR, sentence, remedy)


def unknown(what: str) -> CheckLine:
    """Return a line about something that the caller may not see, such as "the value of the macro"."""
    return CheckLine(Verdict.UNKNOWN, what)


def visible(lines: Iterator[CheckLine]) -> Iterator[CheckLine]:
    """Yield the lines; end with what the caller may not see, or what could not be looked at."""
    try:
        yield from lines
    except PermissionError as failure:
        yield unknown(f"{failure.filename}")
    except (OSError, subprocess.SubprocessError) as failure:
        yield error(f"this could not be checked: {failure}", "remove the cause, and run eximcertctl check again")
