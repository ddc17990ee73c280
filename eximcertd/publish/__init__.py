"""eximcertd-publish: root's part. It writes one file. Standard library, the fingerprint and the settings only."""

from __future__ import annotations


def main() -> int:
    """Serve one request on standard input; see program.main."""
    from eximcertd.publish.program import main as program  # noqa: PLC0415 - importing the package costs nothing

    return program()
