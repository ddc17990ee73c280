"""Main log traffic for the benchmarks: lines as a busy Exim writes them, and warn lines among them, from a seed."""

from __future__ import annotations

import hashlib
import random
import time
from typing import TYPE_CHECKING, Final

from eximcertd.rejection import DEFAULT_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START: Final = 1_795_000_000
EVERY: Final = 2000
_HOSTS: Final = [f"mail{number}.{name}.example" for number in range(8) for name in ("lists", "shop", "news", "uni")]
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


def other(chance: random.Random, at: float) -> str:
    """Return a line that is none."""
    host, address = chance.choice(_HOSTS), f"192.0.2.{chance.randrange(256)}"
    message = f"{chance.randrange(36**6):06d}"[:6] + f"-{chance.randrange(10**6):06d}-{chance.randrange(100):02d}"
    kind = chance.random()
    if kind < 0.3:
        text = (
            f"{message} <= user{chance.randrange(500)}@{host} H={host} [{address}]:{chance.randrange(1024, 65535)}"
            f" P=esmtps X={chance.choice(_CIPHERS)} CV=no S={chance.randrange(900, 90000)} id={message}@{host}"
        )
    elif kind < 0.6:
        text = f"{message} => user{chance.randrange(500)}@{host} R=dnslookup T=remote_smtp H={host} [{address}] CV=yes"
    elif kind < 0.8:
        text = f"H=({host}) [{address}] F=<user@{host}> rejected RCPT <user{chance.randrange(500)}@example.org>: relay not permitted"  # noqa: E501
    else:
        text = f"{message} Completed"
    return f"{_stamp(at)} {text}\n"


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


def flood(path: Path, lines: int) -> None:
    """Write a log of warn lines alone, each of another fingerprint."""
    with path.open("w", buffering=1 << 20, encoding="ascii") as stream:
        stream.writelines(warn(START + number / 1000, fingerprint(number)) for number in range(lines))


_last: tuple[int, str] = (0, "")


def _stamp(at: float) -> str:
    global _last  # noqa: PLW0603 - a date takes longer than the rest of the line
    if _last[0] != int(at):
        _last = int(at), time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
    return _last[1]


def chunks(chance: random.Random, count: int) -> Iterator[bytes]:
    """Return so many lines that are no warn lines, as bytes."""
    return (other(chance, time.time()).encode() for _ in range(count))
