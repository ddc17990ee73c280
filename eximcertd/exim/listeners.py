"""Listening TCP sockets: which of them Exim's configuration names, and which exist.

The kernel notes who opened a socket (column uid of proc(5), net/tcp), which nobody else can forge. The notifier socket
of Exim tells nothing: its abstract name has no owner, and every local user may bind it.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

ANY: Final = ""
"""The address of an endpoint that listens on all addresses."""

Endpoint = tuple[str, int]
"""Address as proc(5) spells it in net/tcp, or ANY; port."""

_LISTENING: Final = "0A"
_PORTION: Final = 1 << 16
_MOST_ITEMS: Final = 64
_LONGEST: Final = 4096
_SERVICES: Final = {"smtp": 25, "smtps": 465, "ssmtp": 465, "submissions": 465, "submission": 587}
_WITH_PORT: Final = re.compile(
    r"((?:[0-9]{1,3}\.){3}[0-9]{1,3})[.:]([0-9]{1,5})|\[([0-9a-fA-F:.]+)\][.:]([0-9]{1,5})|"
    r"([0-9a-fA-F]*:[0-9a-fA-F:]*)\.([0-9]{1,5})"
)
"""An address and its port (Exim specification, chapter "Starting the daemon", "Specifying port numbers")."""


class Listener(NamedTuple):
    """A socket that listens. address: as proc(5) spells it. inode: a new one for each socket. user: who opened it."""

    address: str
    port: int
    inode: str
    user: int

    @property
    def anywhere(self) -> bool:
        """It listens on all addresses."""
        return not self.address.strip("0")

    def __str__(self) -> str:
        """Return address and port as people write them."""
        import socket  # noqa: PLC0415 - only for messages

        raw = b"".join(_swapped(bytes.fromhex(self.address[at : at + 8])) for at in range(0, len(self.address), 8))
        text = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)  # noqa: PLR2004 - IPv4
        return f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}"

    def is_one_of(self, endpoints: Collection[Endpoint]) -> bool:
        """Tell whether it is what one of the endpoints names."""
        return bool({(self.address, self.port), (ANY, self.port)} & set(endpoints))

    def overlaps(self, endpoints: Collection[Endpoint]) -> bool:
        """Tell whether it takes connections that are for one of the endpoints."""
        return self.is_one_of(endpoints) or (self.anywhere and any(port == self.port for _, port in endpoints))


Look = dict[int, list[Listener]]
"""The tables that were read, by inode, each of which belongs to one network namespace."""


def endpoints(option: str, interfaces: str, ports: str) -> set[Endpoint]:
    """Return what a daemon listens on.

    option: its argument of -oX, or "". interfaces, ports: the options local_interfaces and daemon_smtp_ports. An item
    of -oX that is an address replaces local_interfaces, one that is a port replaces daemon_smtp_ports; the port of an
    address wins over both (seen on 4.96).
    """
    given = _items(option)
    given_ports = {port for item in given if (port := _port(item))}
    given_addresses = [item for item in given if not _port(item)]
    usual = given_ports or {port for item in _items(ports) if (port := _port(item))} or {_SERVICES["smtp"]}
    found: set[Endpoint] = set()
    for item in given_addresses or _items(interfaces) or [""]:
        with_port = _WITH_PORT.fullmatch(item)
        address, *own = [part for part in with_port.groups() if part] if with_port else [item]
        found |= {(_spelled(address), port) for port in (map(int, own) if own else usual)}
    return found


def named_ports(endpoints: Collection[Endpoint], tls_on_connect: str) -> set[int]:
    """Return all ports that are named. tls_on_connect: the option tls_on_connect_ports."""
    return {port for _, port in endpoints} | {port for item in _items(tls_on_connect) if (port := _port(item))}


def _items(text: str) -> list[str]:
    """Split one of Exim's lists (Exim specification, section "Changing list separators")."""
    text = text.strip()[:_LONGEST]
    separator, text = (text[1:2], text[2:]) if text.startswith("<") else (":", text)
    if not separator:
        return []
    # a separator that is doubled is part of the item
    split = re.split(rf"(?<!{re.escape(separator)}){re.escape(separator)}(?!{re.escape(separator)})", text)
    return [item.strip().replace(separator * 2, separator) for item in split if item.strip()][:_MOST_ITEMS]


def _port(item: str) -> int:
    """Return the port that an item of a list is, 0 if it is none."""
    if item.isdecimal():
        return int(item[:6])
    if item in _SERVICES:
        return _SERVICES[item]
    if re.fullmatch(r"[a-z][a-z0-9-]{0,31}", item):
        import socket  # noqa: PLC0415 - only for a name that is not one of the usual

        try:
            return socket.getservbyname(item, "tcp")
        except OSError:
            return 0
    return 0


def _spelled(address: str) -> str:
    """Return an address as proc(5) spells it; ANY for all addresses and for what is no address."""
    text = address.strip("[]")
    if not text or not text.strip("0.:"):
        return ANY
    import socket  # noqa: PLC0415 - only where Exim does not listen on all addresses

    try:
        raw = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        return ANY
    return "".join(_swapped(raw[at : at + 4]).hex() for at in range(0, len(raw), 4)).upper()


def _swapped(word: bytes) -> bytes:
    """Return 32 bits of an address between network and machine order, which proc(5) uses."""
    return word[::-1] if sys.byteorder == "little" else word


def listeners(processes: Collection[int | str], ports: Collection[int] = (), look: Look | None = None) -> set[Listener]:
    """Return the sockets that listen in the network namespaces of processes. ports: only those on them, if any.

    look: tables that need not be read again; what is read is added. The kernel goes through its whole table of
    connections for the last row, some 4 ms.
    """
    look = {} if look is None else look
    return {
        found
        for pid in processes
        for table in ("tcp", "tcp6")
        for found in _table(f"/proc/{pid}/net/{table}", look)
        if not ports or found.port in ports
    }


def _table(path: str, look: Look) -> list[Listener]:
    """Return the listening sockets of a table: the kernel puts them before all connections."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        inode = os.fstat(descriptor).st_ino
        if inode not in look:
            look[inode] = list(_rows(descriptor))
        return look[inode]
    except OSError:
        return []
    finally:
        os.close(descriptor)


def _rows(descriptor: int) -> Iterator[Listener]:
    rest = b""
    while portion := os.read(descriptor, _PORTION):
        *rows, rest = (rest + portion).split(b"\n")
        for row in rows:
            columns = row.decode("ascii", "replace").split()
            if len(columns) < 10 or columns[0] == "sl":  # noqa: PLR2004 - proc(5)
                continue
            if columns[3] != _LISTENING:
                return
            address, _, port = columns[1].rpartition(":")
            yield Listener(address, int(port, 16), columns[9], int(columns[7]))
