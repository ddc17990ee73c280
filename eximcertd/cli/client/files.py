"""What ``client setup`` keeps on this machine, and who the server is."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final, NamedTuple

from eximcertd.errors import EximcertdError, UsageError
from eximcertd.text import shown

DIRECTORY: Final = Path("/etc/eximcertd/client")
CERTIFICATE: Final = DIRECTORY / "certificate.pem"
KEY: Final = DIRECTORY / "key.pem"
SERVER_CERTIFICATE: Final = DIRECTORY / "server.pem"
SERVER: Final = DIRECTORY / "server"
"""HOST:PORT, one line."""
RECORD: Final = DIRECTORY / "changes.json"
"""What ``client setup`` wrote, for ``--undo``; see cli/changeset.py."""

SMTP_PORT: Final = 25
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)


class Smarthost(NamedTuple):
    """The server that mail is sent to. host: a name or an IP address, safe in a configuration file."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_address(self) -> bool:
        """Tell whether the host is an IP address."""
        return bool(re.fullmatch(r"[0-9.]+|.*:.*", self.host))

    @classmethod
    def parse(cls, text: str) -> Smarthost:
        """Return what HOST, HOST:PORT, ADDRESS, [ADDRESS] or [ADDRESS]:PORT names. Raises UsageError."""
        found = re.fullmatch(r"\[([^\]]*)\](?::([0-9]{1,5}))?|([^:]*)(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]*)", text.strip())
        if found is None:
            raise UsageError(f"{shown(text, 80)!r} is not HOST or HOST:PORT")
        host = found[1] or found[3] or found[5] or ""
        port = int(found[2] or found[4] or SMTP_PORT)
        try:
            host = str(ipaddress.ip_address(host))
        except ValueError:
            if found[1] is not None or not _NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
                raise UsageError(f"{shown(host, 80)!r} is neither a host's name nor an IP address") from None
            host = host.lower()
        if not 0 < port < 1 << 16:
            raise UsageError(f"{port} is not a TCP port: give 1 to 65535")
        return cls(host, port)

    @classmethod
    def kept(cls) -> Smarthost | None:
        """Return the server that ``client setup`` kept, None without one. Raises EximcertdError."""
        try:
            text = SERVER.read_text("ascii")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EximcertdError(
                f"{SERVER} cannot be read: {getattr(error, 'strerror', None) or 'not ASCII'}"
            ) from None
        return cls.parse(text)
