"""What a diagnosis finds. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """GOOD: as it should be. ODD: it works, and somebody should look at it. BAD: it does not work, or is not safe."""

    GOOD = "good"
    ODD = "odd"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. sentence: what is so. remedy: what to do, or ""."""

    verdict: Verdict
    sentence: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the object that --json shows."""
        return {key: str(value) for key, value in asdict(self).items()}


def good(sentence: str) -> Line:
    """Return a line about what is as it should be."""
    return Line(Verdict.GOOD, sentence)


def odd(sentence: str, remedy: str = "") -> Line:
    """Return a line about what somebody should look at."""
    return Line(Verdict.ODD, sentence, remedy)


def bad(sentence: str, remedy: str) -> Line:
    """Return a line about what does not work, or is not safe."""
    return Line(Verdict.BAD, sentence, remedy)
