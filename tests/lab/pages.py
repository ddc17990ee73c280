"""The screens of the documentation: commands that are run, and that print what the page shows.

    ```console
    server# eximcertctl pending
    No client is waiting.
    ```

The prompt is the machine's name, then # for root or $ for alice. A line [...] stands for lines that are left out. What
follows a question (``[y/N]: y``) is typed. A comment ``<!-- copied: old:/root/list new:/root/list -->`` copies a file
as the text before it says. Fingerprints, dates, versions and times differ from run to run: those of a run are replaced
by the page's, so that a page that a run writes (WRITE_PAGES=1) changes only where the programs do.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from lab.dialogue import QUESTION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lab.machine import Machine

LEFT_OUT: Final = "[...]"
SERVER: Final = "7D0AC24FE3A1B5960F8E21C4D7739AB05C1E48F26B90D3A7E5F41802CB6D9E37"
LAPTOP: Final = "58CD37DAAE5A2B26C0F19E7B34D86A12F5037C9EB1486DE20A7F93C55B2E81D4"
"""What the pages show for the first two fingerprints of a run."""
_BLOCK: Final = re.compile(r"^```console\n(.*?)^```$|^<!-- copied: (\S+) (\S+) -->$", re.MULTILINE | re.DOTALL)
_PROMPT: Final = re.compile(r"([a-z]+)([#$]) (.*)")
_FINGERPRINT: Final = re.compile(r"\b[0-9A-F]{8}(?:(?: [0-9A-F]{8})+|[0-9A-F]{8,56})?\b")
_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?Z?)?"), "DATE"),
    (re.compile(r"\b[0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4}\b"), "MESSAGE-ID"),
    (re.compile(r"\bExim 4\.[0-9.]*[0-9]\b"), "EXIM"),
    (re.compile(r"\b(?:\d+ (?:s|sec|seconds?|min|minutes?|h|hours?) ago|just now)\b"), "AGO"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:ms|s|KiB|bytes)\b"), "SIZE"),
    (re.compile(r"\[\d+\]"), "[PID]"),
    (re.compile(r"\b(?:all \d+ lines|\d+ checks|revision \d+|process \d+)\b"), "NUMBER"),
    (re.compile(r"\s+"), " "),
)


@dataclass
class Shown:
    """The fingerprints of a run, in the order of their appearance, and the page's in their place."""

    _known: list[str] = field(default_factory=list)

    def as_on_page(self, text: str) -> str:
        """Return a run's text with the page's fingerprints."""
        return _FINGERPRINT.sub(lambda found: _spelled(found[0], _instead(self._place(found[0]))), text)

    def as_run(self, text: str) -> str:
        """Return a page's text with the run's fingerprints."""

        def replaced(found: re.Match[str]) -> str:
            digits = found[0].replace(" ", "")
            places = (place for place in range(len(self._known)) if _instead(place).startswith(digits))
            place = next(places, None)
            assert place is not None, f"the page has not shown {digits} before"
            return _spelled(found[0], self._known[place])

        return _FINGERPRINT.sub(replaced, text)

    def _place(self, text: str) -> int:
        digits = text.replace(" ", "")
        for place, known in enumerate(self._known):
            if known.startswith(digits) or digits.startswith(known):
                self._known[place] = max(known, digits, key=len)
                return place
        self._known.append(digits)
        return len(self._known) - 1


def play(page: Path, machines: Mapping[str, Machine], shown: Shown) -> None:
    """Run the commands of a page's screens. Raises AssertionError with both texts where one prints something else."""
    text = page.read_text(encoding="utf-8")
    written, end, wrong = "", 0, ""
    for block in _BLOCK.finditer(text):
        written += text[end : block.start()]
        end = block.end()
        if block[2]:
            _copy(block[2], block[3], machines)
            written += block[0]
            continue
        lines = []
        for command, expected in _commands(block[1]):
            printed = _run(command, expected, machines, shown)
            lines.append(command)
            if _same(expected, printed):
                lines += expected
                continue
            wrong = f"{page.name}: {command}\n--- the page\n{_joined(expected)}\n--- the run\n{_joined(printed)}"
            assert "WRITE_PAGES" in os.environ, wrong
            lines += _filled(expected, printed)
        written += "\n".join(["```console", *lines, "```"])
    if wrong:
        page.write_text(written + text[end:], encoding="utf-8")


def _commands(block: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if _PROMPT.match(line):
            found.append((line, []))
        else:
            assert found, f"a screen begins with a command, not with {line}"
            found[-1][1].append(line)
    return found


def _run(line: str, expected: list[str], machines: Mapping[str, Machine], shown: Shown) -> list[str]:
    prompt = _PROMPT.match(line)
    assert prompt is not None
    answers = [told.partition(QUESTION)[2] for told in expected if QUESTION in told]
    machine = machines[prompt[1]]
    printed = machine.typed(shown.as_run(prompt[3]), answers, user="root" if prompt[2] == "#" else "alice")
    for each in machines.values():
        each.settle()
    return [told.rstrip() for told in shown.as_on_page(printed).splitlines()]


def _copy(source: str, target: str, machines: Mapping[str, Machine]) -> None:
    (name, path), (to, there) = source.split(":"), target.split(":")
    machines[to].path(there).write_bytes(machines[name].path(path).read_bytes())


def _same(expected: list[str], printed: list[str]) -> bool:
    """Tell whether the page shows what was printed, but for what is left out and what differs from run to run."""
    pieces, left = _pieces(plain(expected)), plain(printed)
    if len(pieces) == 1:
        return pieces[0] == left
    last = pieces.pop()
    for place, piece in enumerate(pieces):
        starts = range(1 if place == 0 else len(left) - len(piece) + 1)
        start = next((at for at in starts if left[at : at + len(piece)] == piece), None)
        if start is None:
            return False
        left = left[start + len(piece) :]
    return len(last) <= len(left) and left[len(left) - len(last) :] == last


def _filled(expected: list[str], printed: list[str]) -> list[str]:
    """Return what to show: as many of the printed lines as the page showed, from where they began there."""
    pieces = _pieces(expected)
    if len(pieces) == 1:
        return printed
    first, *others, last = pieces
    filled = printed[: len(first)]
    for piece in others:
        start = next((at for at, line in enumerate(printed) if plain([line]) == plain(piece[:1])), None)
        if start is not None:
            filled += [LEFT_OUT, *printed[start : start + len(piece)]]
    return [*filled, LEFT_OUT, *printed[len(printed) - len(last) :]]


def _pieces(lines: list[str]) -> list[list[str]]:
    pieces: list[list[str]] = [[]]
    for line in lines:
        if line == LEFT_OUT:
            pieces.append([])
        else:
            pieces[-1].append(line)
    return pieces


def plain(lines: list[str]) -> list[str]:
    """Return lines without what differs from run to run."""
    found = []
    for line in lines:
        for varying, instead in _VARYING:
            line = varying.sub(instead, line)  # noqa: PLW2901 - one after the other
        found.append(line.rstrip())
    return found


def _joined(lines: list[str]) -> str:
    return "\n".join(lines)


def _instead(place: int) -> str:
    """Return the page's fingerprint for the one at a place."""
    named = (SERVER, LAPTOP)
    return named[place] if place < len(named) else hashlib.sha256(str(place).encode()).hexdigest().upper()


def _spelled(pattern: str, fingerprint: str) -> str:
    """Return a fingerprint with as many digits as a pattern has, and blanks where it has them."""
    digits = iter(fingerprint)
    return "".join(letter if letter == " " else next(digits) for letter in pattern)
