"""A TLS handshake with each port that Exim listens on, as a client makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import CheckLine, error, ok, warning
from eximcertd.exim.starttls import StarttlsError, connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TIME_LIMIT: Final = 10.0
_MOST_PORTS: Final = 20
_TLS_UNAVAILABLE: Final = 454
"""The reply to STARTTLS of an Exim that cannot use its certificate (RFC 3207, section 4)."""

_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what Exim listens on, not what we do


def handshakes(endpoints: Iterable[tuple[str, int]], on_connect: Iterable[int]) -> Iterator[CheckLine]:
    """Say for each endpoint, an address and a port, whether a client can use TLS there.

    on_connect: the ports of Exim's tls_on_connect_ports.
    """
    done, unasked = [], []
    for address, port in sorted(endpoints)[:_MOST_PORTS]:
        name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        at = _ANY.get(address, address)
        try:
            with connect(
                at, port, helo="eximcertctl-check.invalid", on_connect=port in on_connect, limit=_TIME_LIMIT
            ) as session:
                done.append(f"{name} ({session.protocol})")
                unasked += [name] if session.certificate_requested is False else []
        except StarttlsError as failure:
            yield _failure(name, failure)
    if done:
        yield ok(f"a TLS handshake succeeds with Exim at {', '.join(done)}")
    if unasked:
        yield warning(
            f"Exim at {', '.join(unasked)} asks this machine for no certificate",
            "if it is to be a client, set tls_try_verify_hosts = *",
        )


_REMEDY: Final = "see Exim's main log for the cause, and the lines about tls_certificate and tls_privatekey here"


def _failure(name: str, failure: StarttlsError) -> CheckLine:
    if failure.step == "starttls" and failure.reply is not None:
        if failure.reply.code == _TLS_UNAVAILABLE:
            return error(f"Exim at {name} does not start TLS: {failure.reply}", _REMEDY)
        if failure.reply.code == 250:  # noqa: PLR2004 - SMTP's "done"
            return error(
                f"Exim at {name} does not start TLS: EHLO is answered without STARTTLS (see tls_advertise_hosts)",
                _REMEDY,
            )
        return warning(f"Exim at {name} does not start TLS: {failure.reply}", _REMEDY)
    if failure.step == "handshake":
        return error(f"Exim at {name} does not complete TLS: {failure.message}", _REMEDY)
    return warning(f"Exim at {name} could not be asked for TLS: {failure.message}")
