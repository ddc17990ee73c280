"""The form that the allowlist is written in: the configuration's, or with "auto" the one that fits its length. Pure."""

from __future__ import annotations

from typing import Final

LIST: Final = "list"
DIRECTORY: Final = "directory"
AUTO: Final = "auto"


def choose(
    configured: str, list_limit: int, length: int, now: str, *, rewritten: bool = False, authorities: bool = False
) -> str:
    """Return LIST or DIRECTORY.

    configured: "auto", "list" or "directory". length: of the allowlist. now: the present form, or "".
    rewritten: an earlier macro of the site changes fingerprints in the list form. authorities: one is approved, so that
    certificates are enrolled in the moment in which their client waits.

    "auto" goes back to the list only at half its limit, so that an allowlist at the limit does not change
    its form with every decision.
    """
    if configured != AUTO:
        return configured
    if rewritten or authorities or length > list_limit:
        return DIRECTORY
    if now == DIRECTORY and length > list_limit // 2:
        return DIRECTORY
    return LIST
