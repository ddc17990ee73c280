"""A TLS handshake with each port that Exim listens on, as a client makes it (RFC 3207, RFC 8314)."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import CheckLine, error, ok, warning
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_TIME_LIMIT: Final = 10.0
_LONGEST_LINE: Final = 2048
_MOST_LINES: Final = 100
_CODE: Final = 3
"""Digits of a reply's code (RFC 5321, section 4.2)."""

_MOST_PORTS: Final = 20
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what Exim listens on, not what we do


class _RefusalError(Exception):
    """Exim's reply to a command that did not succeed."""


def handshakes(endpoints: Iterable[tuple[str, int]], on_connect: Iterable[int]) -> Iterator[CheckLine]:
    """Say for each endpoint, an address and a port, whether a client can use TLS there.

    on_connect: the ports of Exim's tls_on_connect_ports.
    """
    done = []
    for address, port in sorted(endpoints)[:_MOST_PORTS]:
        name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        try:
            with socket.create_connection((_ANY.get(address, address), port), _TIME_LIMIT) as connection:
                version = _handshake(connection, at_once=port in on_connect)
        except _RefusalError as refusal:
            reply = str(refusal)
            line = error if reply.startswith(("454", "EHLO")) else warning
            yield line(f"Exim at {name} does not start TLS: {shown(reply, 300)}", _REMEDY)
        except ssl.SSLError as failure:
            yield error(f"the TLS handshake with Exim at {name} fails: {failure.reason or failure}", _REMEDY)
        except (OSError, ValueError) as failure:
            yield warning(f"Exim at {name} could not be asked for TLS: {failure or type(failure).__name__}")
        else:
            done.append(f"{name} ({version})")
    if done:
        yield ok(f"a TLS handshake succeeds with Exim at {', '.join(done)}")


_REMEDY: Final = "see Exim's main log for the cause, and the lines about tls_certificate and tls_privatekey here"


def _handshake(connection: socket.socket, *, at_once: bool) -> str:
    """Return the version of TLS that was agreed on. Raises _RefusalError, OSError, ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whether a client trusts it is not the question
    if not at_once:
        with connection.makefile("rb") as stream:
            _reply(stream.readline, "220")
            connection.sendall(b"EHLO eximcertctl-check.invalid\r\n")
            offered = _reply(stream.readline, "250")
            if not any(line[4:].strip().upper() == "STARTTLS" for line in offered):
                raise _RefusalError("EHLO is answered without STARTTLS (see tls_advertise_hosts)")
            connection.sendall(b"STARTTLS\r\n")
            _reply(stream.readline, "220")
    with context.wrap_socket(connection, server_hostname=None) as encrypted:
        encrypted.sendall(b"QUIT\r\n")
        return encrypted.version() or "TLS"


def _reply(readline: Callable[[int], bytes], expected: str) -> list[str]:
    """Return the lines of an SMTP reply. Raises _RefusalError for another code, ValueError for no reply of SMTP."""
    lines: list[str] = []
    while len(lines) < _MOST_LINES:
        line = readline(_LONGEST_LINE).decode("utf-8", "backslashreplace").rstrip("\r\n")
        if len(line) < _CODE or not line[:_CODE].isdecimal():
            raise ValueError(f"{shown(line, 80) or 'it hung up'}: not an SMTP reply")
        lines.append(line)
        if line[_CODE : _CODE + 1] != "-":
            break
    if lines[-1][:_CODE] != expected:
        raise _RefusalError(" ".join(lines))
    return lines
