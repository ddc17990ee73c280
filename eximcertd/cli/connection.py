"""The configuration and a client of eximcertd, for every verb. Without click: the quick verbs start without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eximcertd.control.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.config import DaemonConfig, FleetSettings


class Context:
    """The options before the verb. config_file: path of the configuration. socket, key: as given, or None.

    key: the SSH key that signs a fleet's acts.
    """

    def __init__(self, config_file: Path | str, socket: Path | str | None, key: Path | None = None) -> None:
        self._config_file = config_file
        self.socket: Final = socket
        self.key: Final = key
        self._config: DaemonConfig | None = None

    @property
    def config_file(self) -> Path:
        """The path of the configuration."""
        from pathlib import Path  # noqa: PLC0415 - a twentieth of a call that gets the socket's path

        return Path(self._config_file)

    def config(self) -> DaemonConfig:
        """Return the configuration. Raises ConfigurationError."""
        if self._config is None:
            from eximcertd.config import load  # noqa: PLC0415 - many calls need no configuration

            self._config = load(self.config_file)
        return self._config

    def fleet(self) -> FleetSettings | None:
        """Return the section [fleet], or None without one. Raises ConfigurationError."""
        found = self.config().fleet
        return found if found.relay else None

    def client(self) -> Client:
        """Return a client of eximcertd, not yet connected. Raises ConfigurationError."""
        return Client(self.socket or self.config().control.socket)

    def call(self, method: str, **parameters: Any) -> Any:
        """Connect, call a method, and return its outputs, a dict. Raises EximcertdError."""
        with self.client() as client:
            return client.call(method, parameters)


def each(client: Client, method: str, key: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a method that answers in portions. key: under which a portion has them."""
    for portion in client.stream(method, parameters):
        yield from portion[key]
