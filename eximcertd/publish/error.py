"""The one exception of eximcertd-publish, and how text from outside is shown in messages."""

from __future__ import annotations

from eximcertd.publish.request import REFUSED


class PublishError(Exception):
    """A request ends early. outcome: of request.Answer. message: what is wrong, where, and what to do.

    retry_after: seconds after which the same request is within the limits.
    """

    def __init__(self, outcome: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message
        self.retry_after = retry_after


def refused(message: str, retry_after: float | None = None) -> PublishError:
    """Return the error for a limit, a request that does not follow the protocol, or an unsafe file."""
    return PublishError(REFUSED, message, retry_after)


def shown(text: str, most: int = 200) -> str:
    """Return text from outside in printable ASCII, cut to a length that can be shown."""
    return text.encode("unicode_escape").decode("ascii")[:most]
