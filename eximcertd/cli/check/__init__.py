"""eximcertctl check: one screen on the whole set-up, each line good, odd or bad with what to do."""

from __future__ import annotations

from eximcertd.cli.check.verb import command

__all__ = ["command"]
