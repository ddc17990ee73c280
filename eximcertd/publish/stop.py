"""The one way in which a publication ends early: a sentence, and which of the answer's outcomes it is."""

from __future__ import annotations

from eximcertd.publish.old_request import FAILED, REFUSED


class Stop(Exception):  # noqa: N818 - it ends a publication, which may be no error at all
    """What is wrong, where, and what to do.

    outcome: see request.Answer. exim: Exim's own words. rewritten_by: the site's macro that rewrites fingerprints.
    retry_after: seconds until a limit lets the same request through.
    """

    def __init__(
        self,
        outcome: str,
        message: str,
        *,
        exim: str = "",
        rewritten_by: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message
        self.exim = exim
        self.rewritten_by = rewritten_by
        self.retry_after = retry_after


def refused(message: str) -> Stop:
    """Return the end of a publication that a limit, an odd request or an unsafe file forbids: nothing was done."""
    return Stop(REFUSED, message)


def failed(message: str, exim: str = "") -> Stop:
    """Return the end of a publication in which a step failed."""
    return Stop(FAILED, message, exim=exim)


def shown(text: str, most: int = 200) -> str:
    """Return text from outside as it may be shown: control characters and all but ASCII escaped, and not too long."""
    escaped = text.encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= most else escaped[:most] + "..."
