"""Keeps an index in step with its directory: looks when something changes, and slowly all the same. (A skeleton.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.certificates.index import Changes, Index


class Watch:
    """A thread that refreshes ``index`` and calls ``deliver`` (in that thread) after the first look and each change.

    ``start`` begins with a whole look at the directory; the first ``deliver`` tells that the index can be used.
    """

    problem: str | None
    """Why changes are only seen by looking now and then, or None."""

    def __init__(self, index: Index, deliver: Callable[[Changes], None], *, rescan: float = 300.0) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Begin to watch."""
        raise NotImplementedError

    def look(self) -> None:
        """Ask for a whole look now; from any thread."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the watch and its threads; returns once they have ended."""
        raise NotImplementedError
