"""eximcertctl check: the whole set-up on one screen, each line ok, warning or error, with what to do."""

from __future__ import annotations

from eximcertd.cli.check.verb import command

__all__ = ["command"]
