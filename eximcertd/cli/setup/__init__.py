"""``eximcertctl setup``: this machine's Exim relays by certificate afterwards. ``--undo`` takes that out again."""

from __future__ import annotations

from eximcertd.cli.setup.verb import command

__all__ = ["command"]
