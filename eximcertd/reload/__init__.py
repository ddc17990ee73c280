"""eximcertd-reload: the part that runs as Exim's user. It asks Exim, signals its daemons, and writes no file.

What it answers is believed for what Exim's user could forge in any case, and never makes root do anything.
"""

from __future__ import annotations


def main() -> int:
    """Run the program; returns its exit status."""
    import gc  # noqa: PLC0415 - the daemon imports request alone

    gc.disable()  # it serves one publication: to look for garbage would take a sixth of its start and end
    from eximcertd.reload.program import main as program  # noqa: PLC0415 - the same

    gc.freeze()
    return program()
