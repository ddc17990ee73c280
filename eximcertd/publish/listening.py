"""The TCP sockets that Exim's daemon listens on: each start of the daemon, and so each HUP, opens them anew.

They are the sign that it loaded its configuration, because nobody but root and Exim's own user can forge it: the
kernel notes who opened a socket (column uid of proc(5), net/tcp). The name of Exim's notifier socket is no such
sign: abstract names have no owner, and any local user may bind one.
"""

from __future__ import annotations

import re
import socket
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

_LISTENING: Final = "0A"
_MOST_ITEMS: Final = 64
_LONGEST: Final = 4096
_PORT: Final = re.compile(
    r"(?:(?:[0-9]{1,3}\.){4}|(?:[0-9]{1,3}\.){3}[0-9]{1,3}:|\[[0-9a-fA-F:.]*\][:.]|[0-9a-fA-F:]*:[0-9a-fA-F:]*\.)?"
    r"([0-9]{1,5})"
)
"""A port alone, or behind an address (Exim specification, section "Specifying port numbers")."""


def ports(option: str, interfaces: str, usual: str) -> set[int]:
    """Return the ports that a daemon listens on.

    option: what it was started with after -oX, or "". interfaces, usual: the options local_interfaces and
    daemon_smtp_ports; the latter is used where an address is listed without a port.
    """
    named, lacking = _listed(option)
    if not named or lacking:
        more, lacking = _listed("" if option else interfaces)
        named |= more
        if not more or lacking:
            named |= _listed(usual)[0]
    return named


def _listed(text: str) -> tuple[set[int], bool]:
    """Return the ports in one of Exim's lists, and whether one of its items has none."""
    found: set[int] = set()
    lacking = False
    for item in islice(_items(text[:_LONGEST].strip()), _MOST_ITEMS):
        port = _PORT.fullmatch(item)
        if port:
            found.add(int(port[1]))
        elif re.fullmatch(r"[a-z][a-z0-9-]{0,31}", item):
            try:
                found.add(socket.getservbyname(item, "tcp"))
            except OSError:
                lacking = True
        else:
            lacking = True
    return found, lacking


def _items(text: str) -> Iterator[str]:
    """Split one of Exim's lists (Exim specification, section "Changing list separators")."""
    separator, text = (text[1:2], text[2:]) if text.startswith("<") else (":", text)
    # a separator that is doubled is part of the item
    for item in re.split(rf"(?<!{re.escape(separator)}){re.escape(separator)}(?!{re.escape(separator)})", text):
        if item.strip():
            yield item.strip().replace(separator * 2, separator)


def sockets(pid: int, wanted: AbstractSet[int], owners: AbstractSet[int]) -> set[tuple[str, str]]:
    """Return address and inode of the sockets in a process's network that listen on wanted ports.

    owners: user ids; sockets that others opened do not count.
    """
    found = set()
    for table in ("tcp", "tcp6"):
        for row in map(str.split, _read(pid, table)[1:]):
            if len(row) > 9 and row[3] == _LISTENING and int(row[7]) in owners:  # noqa: PLR2004 - proc(5)
                address, _, port = row[1].rpartition(":")
                if int(port, 16) in wanted:
                    found.add((address, row[9]))
    return found


def _read(pid: int, table: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()
    except OSError:
        return []
