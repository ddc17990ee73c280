"""eximcertd-publish, which runs as root and writes one file. It imports the standard library and two modules only."""

from __future__ import annotations


def main() -> int:
    """Serve one request on standard input; see program.main."""
    import gc  # noqa: PLC0415 - importing the package costs nothing

    gc.disable()  # it serves one request: to look for garbage would take a sixth of its start and end
    from eximcertd.publish.program import main as program  # noqa: PLC0415 - the same

    gc.freeze()
    return program()
