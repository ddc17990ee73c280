"""The time zone of Exim's time stamps: its main option ``timezone``, or the machine's own.

Never the environment's TZ: Exim removes it where ``timezone`` is empty (Exim specification, chapter "Main
configuration").
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final

LOCAL: Final = Path("/etc/localtime")


def zone_of(timezone: str) -> tzinfo:
    """Return the zone that a value of ``timezone`` names, as for TZ (tzset(3)); "": the machine's own.

    As in the C library, one that is not known on this machine is UTC.
    """
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - a tenth of what importing eximcertctl scan costs

    name = timezone.removeprefix(":")
    try:
        if not name:
            with LOCAL.open("rb") as stream:
                return ZoneInfo.from_file(stream)
        return ZoneInfo(name)
    except FileNotFoundError:
        return UTC  # a machine without /etc/localtime runs in UTC (localtime(5))
    except (OSError, ValueError, KeyError):
        return _rule(name)


def _rule(rule: str) -> tzinfo:
    """Return the zone of a POSIX rule such as EST5EDT,M3.2.0,M11.1.0: the footer of a file without transitions."""
    import struct  # noqa: PLC0415 - hardly ever needed
    from io import BytesIO  # noqa: PLC0415 - the same
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - the same

    block = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
    try:
        return ZoneInfo.from_file(BytesIO(block + block + b"\n" + rule.encode() + b"\n"))
    except ValueError:
        return UTC
