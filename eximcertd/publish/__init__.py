"""eximcertd-publish: root's part. Standard library only; nothing of the package but the fingerprint."""

from __future__ import annotations


def main() -> int:
    """Answer one request on standard input; see program.main."""
    from eximcertd.publish.program import main as program  # noqa: PLC0415 - the daemon imports the client alone

    return program()
