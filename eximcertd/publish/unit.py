"""Which systemd unit a daemon is, and so which may be restarted in its place.

The control group tells a service of the system's; systemd's own word on the main process must not speak against it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from eximcertd.publish.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIMIT: Final = 10.0
_USUAL: Final = ("exim4.service", "exim.service")
_CGROUP: Final = re.compile(r"0::/system\.slice/([A-Za-z0-9@:_.\\-]{1,200}\.service)")


def unit_of(
    pid: int, cgroup: str, ask: Sequence[str] = ("systemctl", "show", "--property=MainPID", "--value", "--")
) -> str | None:
    """Return the service that a daemon is, None if it cannot be told. Raises Stop if systemd gives no answer.

    cgroup: text of /proc/PID/cgroup. A unit without a main process (Debian 12's, generated from the init script)
    counts if it is called as Exim's is. ask: the command that prints a unit's main process.
    """
    lines = cgroup.splitlines()
    found = next((match for match in map(_CGROUP.fullmatch, lines) if match), None)
    if found is None:
        return None
    name = found[1]
    said = run([*ask, name], _LIMIT)
    main = said.out.strip()
    if said.status == 0 and re.fullmatch(r"[1-9][0-9]{0,8}", main):
        return name if int(main) == pid else None
    return name if name in _USUAL else None
