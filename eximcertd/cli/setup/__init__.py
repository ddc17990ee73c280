"""``eximcertctl setup``: makes this machine's Exim relay by certificate. ``--undo`` removes the set-up again."""

from __future__ import annotations

from eximcertd.cli.setup.verb import command

__all__ = ["command"]
