"""A connection to the fleet's database, through psycopg 3.

It goes to a service of libpq's service file, which has host, database, role and the paths of certificate and key. The
server's certificate and name are always verified: sslmode=verify-full, whatever that file says.

psycopg (3.1.7 and newer) is imported when a connection is made.
"""

from __future__ import annotations

import select
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

from eximcertd.acts.act import Head, parse
from eximcertd.fleet.remote import ActRefusedError, MovedError, RemoteError
from eximcertd.text import clean, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import LiteralString

    from eximcertd.acts.act import Act
    from eximcertd.errors import EximcertdError

VERSION: Final = 1
"""The version of the database's schema that this program needs. A newer one has all of it."""

CALL_LIMIT: Final = 20.0
"""Seconds for a call, then the connection is closed: neither the server's statement_timeout nor the kernel's ends the
wait for a proxy that confirms everything and answers nothing, or for a synchronous standby."""

_CONNECTION: Final[dict[str, Any]] = {
    "autocommit": True,
    "sslmode": "verify-full",
    "gssencmode": "disable",  # else a Kerberos ticket is enough for a connection without TLS
    "target_session_attrs": "read-write",
    "keepalives_count": 3,
    "options": "-c jit=off -c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
}
_MOVED: Final = "FL001"
_REFUSED: Final = "FL002"
_WRONG_VALUE: Final = "22"
_NO_RIGHT: Final = "42501"
_PORTION: Final = 1 << 20
"""Octets of acts in one answer; one act can be larger."""


class PostgresConnection:
    """A connection to the service ``service``. limit: seconds for each call. Raises RemoteError, also in each call."""

    def __init__(self, service: str, limit: float = CALL_LIMIT) -> None:
        try:
            import psycopg  # noqa: PLC0415 - optional, and slow to load
        except ImportError as error:
            raise RemoteError(
                f"psycopg cannot be loaded: {error}", hint="install python3-psycopg, or eximcertd[fleet] by pip"
            ) from None
        self._error: type[Exception] = psycopg.Error
        self._where = f"the fleet's database (service {clean(service)})"
        self._limit = limit
        try:
            self.raw: Any = psycopg.connect(
                service=service,
                connect_timeout=max(2, int(limit / 2)),
                keepalives_idle=max(1, int(limit / 4)),
                keepalives_interval=max(1, int(limit / 10)),
                tcp_user_timeout=int(limit * 1000),
                **_CONNECTION,
            )
        except psycopg.Error as error:
            raise self._remote(error) from None
        self._socket = socket.socket(fileno=socket.dup(self.raw.fileno()))
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        if not self.raw.pgconn.ssl_in_use and not self.raw.info.host.startswith("/"):  # else a Unix socket
            raise RemoteError(f"{self._where}: the connection is not encrypted")
        ((found,),) = self.ask("SELECT max(version) FROM fleet.version")
        if found is None or found < VERSION:
            raise RemoteError(
                f"{self._where} has version {found} of the schema, and this program needs {VERSION}",
                hint="the database's administrator runs the output of: eximcertctl fleet sql upgrade",
            )

    def ask(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement; none if it has none."""
        timer = threading.Timer(self._limit, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            cursor = self.raw.execute(query, values)
            return list(cursor.fetchall()) if cursor.description else []
        except self._error as error:
            raise self._remote(error) from None
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self._where += f": no answer within {self._limit:g} s"
        self._socket.shutdown(socket.SHUT_RDWR)

    def _remote(self, error: Any) -> EximcertdError:
        """Return the project's error for one of psycopg's."""
        state = getattr(error, "sqlstate", None) or ""
        said = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
        lines = [shown(line.strip(), 500) for line in said.splitlines() if line.strip()]
        if state == _MOVED:
            return MovedError(" ".join(lines))
        if state == _REFUSED or state.startswith(_WRONG_VALUE):
            return ActRefusedError("\n".join(lines))
        if state == _NO_RIGHT:
            return ActRefusedError(f"{self._where} refuses it: {' '.join(lines)}")
        return RemoteError(f"{self._where}: {' '.join(lines) or type(error).__name__}")

    def wait(self, seconds: float) -> bool:
        """Wait until the server sends something, or so long; return whether it did."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return bool(poller.poll(max(0, seconds) * 1000))

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()
        self._socket.close()

    def head(self) -> Head:
        """Return where the chain ends."""
        ((generation, digest),) = self.ask("SELECT generation, hash FROM fleet.head")
        return Head(generation, digest)

    def acts(self, after: int, most: int) -> Sequence[Act]:
        """Return acts after a generation, in order: at most ``most``, and about a mebibyte of text."""
        return acts_of(
            self.ask(
                "SELECT text, signature FROM (SELECT generation, text, signature, sum(octet_length(text))"
                " OVER (ORDER BY generation) - octet_length(text) AS before FROM (SELECT * FROM fleet.act"
                " WHERE generation > %s ORDER BY generation LIMIT %s) portion) counted WHERE before < %s"
                " ORDER BY generation",
                after, most, _PORTION,
            )
        )  # fmt: skip


def acts_of(rows: Iterable[tuple[Any, ...]]) -> Sequence[Act]:
    """Return the acts in rows of text and signature. Raises ActError for a text that is not an act's."""
    return [parse(bytes(text), signature) for text, signature in rows]


def as_json(value: object) -> object:
    """Return the value as a parameter of the type jsonb."""
    from psycopg.types.json import Jsonb  # noqa: PLC0415 - after PostgresConnection has loaded psycopg

    return Jsonb(value)
