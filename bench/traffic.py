"""Main log traffic for the benchmarks: lines as a busy Exim writes them, and warn lines among them, from a seed."""

from __future__ import annotations

import base64
import hashlib
import random
import string
import time
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import of_der
from eximcertd.log.line import DEFAULT_MESSAGE, USE_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START: Final = 1_795_000_000
EVERY: Final = 2000
_HOSTS: Final = [f"mail{number}.{name}.example" for number in range(8) for name in ("lists", "shop", "news", "uni")]
_SHARES: Final = (18, 18, 4, 14, 12, 8, 8, 7, 5, 3, 2, 1)
_CIPHERS: Final = (
    "TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256",
    "TLS1.2:ECDHE_SECP256R1__RSA_SHA256__AES_128_GCM:128",
)


def fingerprint(number: int) -> str:
    """Return the fingerprint of a certificate that is nowhere."""
    return hashlib.sha256(b"%d" % number).hexdigest().upper()


def warn(at: float, whose: str) -> str:
    """Return a warn line."""
    return f"{_stamp(at)} {DEFAULT_MESSAGE} {whose}\n"


def use(at: float, whose: str) -> str:
    """Return a line that tells of an accepted recipient."""
    return f"{_stamp(at)} {USE_MESSAGE} {whose}\n"


def other(chance: random.Random, at: float) -> str:
    """Return a line that is none: what a relay in the open logs, in about the same shares."""
    host, ip, cipher = chance.choice(_HOSTS), _address(chance), chance.choice(_CIPHERS)
    port, sender, recipient = chance.randrange(1024, 65535), _person(chance), _person(chance)
    peer, size = f"H={host} [{ip}]:{port}", chance.randrange(900, 90000)
    message = f"{_base62(chance, 6)}-{_base62(chance, 6)}-{_base62(chance, 2)}"
    delivery = f"{recipient} R=dnslookup T=remote_smtp H={host} [{ip}]"
    texts = (
        f"{message} <= {sender} {peer} P=esmtps X={cipher} CV=no S={size} id={_base62(chance, 22)}@{host}",
        f'{message} => {delivery} X={cipher} CV=yes K C="250 2.0.0 Ok: queued as {_base62(chance, 11).upper()}"',
        f"{message} == {delivery} defer (-44): SMTP error from remote server after RCPT TO:<{recipient}>: 451",
        f"{message} Completed",
        f"H=({host}) [{ip}]:{port} F=<{sender}> rejected RCPT <{recipient}>: relay not permitted",
        f"{peer} X={cipher} CV=no F=<{sender}> rejected RCPT <{recipient}>: {ip} is listed (https://www.bl.example/{ip})",
        f"SMTP connection from [{ip}]:{port} (TCP/IP connection count = {chance.randrange(1, 40)})",
        f"SMTP connection from {host} [{ip}]:{port} closed by QUIT",
        f"no host name found for IP address {ip}",
        f"TLS error on connection from ({host}) [{ip}]:{port} (recv): A TLS fatal alert has been received",
        f"plain_login authenticator failed for ({host}) [{ip}]:{port}: 535 Incorrect authentication data",
        f"Start queue run: pid={chance.randrange(1000, 4_000_000)}",
    )
    return f"{_stamp(at)} {chance.choices(texts, _SHARES)[0]}\n"


def _base62(chance: random.Random, length: int) -> str:
    return "".join(chance.choices(string.ascii_letters + string.digits, k=length))


def _address(chance: random.Random) -> str:
    if chance.random() < 0.15:
        return f"2001:db8:{chance.randrange(1 << 16):x}::{chance.randrange(1, 1 << 16):x}"
    return (
        f"{chance.choice((192, 198, 203))}.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
    )


def _person(chance: random.Random) -> str:
    name = chance.choice(("alice", "bob", "carol", "sales", "info", "noreply", "bounce", "j.smith", "newsletter"))
    return f"{name}{chance.randrange(40)}@{chance.choice(_HOSTS).partition('.')[2]}"


def write(path: Path, lines: int, *, every: int = EVERY, distinct: int = 50) -> int:
    """Write a log of so many lines, one in ``every`` a warn line, and return how many warn lines there are."""
    chance, hits = random.Random(1), 0  # noqa: S311 - the same log every time
    block = [other(chance, START)[19:] for _ in range(20_000)]
    with path.open("w", buffering=1 << 20, encoding="ascii") as stream:
        for number in range(lines):
            at = START + number / 20
            if number % every == every // 2:
                stream.write(warn(at, fingerprint(hits % distinct)))
                hits += 1
            else:
                stream.write(_stamp(at) + block[number * 7919 % len(block)])
    return hits


def flood(clients: int, certificate: Callable[[int], bytes] | None, size: int) -> Iterator[bytes]:
    """Yield pieces of some size of a log that holds attempts alone, each of another client.

    certificate: returns each client's certificate, which the log has too; None: it does not.
    """
    piece: list[str] = []
    left = size
    for number in range(clients):
        at = START + number / 1000
        if certificate is None:
            piece.append(warn(at, fingerprint(number)))
        else:
            der = certificate(number)
            text = base64.b64encode(der).decode()
            piece.append(f"{_stamp(at)} Certificate of the attempt: {of_der(der)} {'0' * 64} {text}\n")
            piece.append(warn(at, of_der(der)))
        left -= len(piece[-1]) + (len(piece[-2]) if certificate else 0)
        if left <= 0:
            yield "".join(piece).encode()
            piece, left = [], size
    yield "".join(piece).encode()


_last: tuple[int, str] = (0, "")


def _stamp(at: float) -> str:
    global _last  # noqa: PLW0603 - a date takes longer than the rest of the line
    if _last[0] != int(at):
        _last = int(at), time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
    return _last[1]


def chunks(chance: random.Random, count: int) -> Iterator[bytes]:
    """Return so many lines that are no warn lines, as bytes."""
    return (other(chance, time.time()).encode() for _ in range(count))
