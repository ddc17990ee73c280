"""What a demo shows: a story in steps, with commands and their words, and a summary."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import Final

WIDTH: Final = 96


class Screen:
    """What is shown: steps, commands as somebody would type them, what they say, and what was seen."""

    def __init__(self) -> None:
        self._color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        tick = "✓"
        try:
            tick.encode(sys.stdout.encoding or "ascii")
        except UnicodeEncodeError:
            tick = "ok"
        self._tick = tick
        self.summary: list[str] = []

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._color else text

    def step(self, heading: str, text: str = "") -> None:
        """Begin a step of the story."""
        _say("\n" + self._styled(heading, "1"))
        if text:
            _say(textwrap.fill(text, WIDTH))
        _say("")

    def command(self, command: str) -> None:
        """Show a command."""
        _say("  " + self._styled(f"$ {command}", "1;36"))

    def said(self, text: str) -> None:
        """Show what a command said, long lines folded."""
        for line in text.rstrip("\n").splitlines():
            _say(textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="      ") if line.strip() else "")

    def seen(self, what: str, took: float | None = None) -> None:
        """Show that something was seen to happen, and keep it for the summary."""
        after = "" if took is None else f"  ({1000 * took:.0f} ms)"
        _say("  " + self._styled(f"{self._tick} {what}{after}", "32"))
        self.summary.append(f"{self._tick} {what}{after}")

    def end(self, took: float) -> None:
        """Show the summary, one screen."""
        self.step("What was seen")
        for line in self.summary:
            _say(f"  {line}")
        _say(f"\nAll of it with real Exims, in {took:.1f} s.")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
