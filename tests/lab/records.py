"""The recorder's twin in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eximcertd.events import Event


@dataclass
class Records:
    """kept: (event, message, fields), oldest first."""

    kept: list[tuple[Event, str, dict[str, str]]] = field(default_factory=list)

    def record(self, event: Event, message: str, **fields: str) -> None:
        """Keep it."""
        self.kept.append((event, message, fields))

    def events(self) -> list[Event]:
        """Return the kinds, oldest first."""
        return [event for event, _, _ in self.kept]
