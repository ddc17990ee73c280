"""Who may read and approve: the groups that the running eximcertd uses, and those of its configuration file."""

from __future__ import annotations

import grp
from typing import TYPE_CHECKING, Any

from eximcertd.cli.check.finding import CheckLine, error, ok, warning
from eximcertd.settings import ControlSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def groups(configured: Mapping[str, Sequence[str]], running: Mapping[str, Any] | None) -> Iterator[CheckLine]:
    """Say who may approve, and where the running eximcertd and its file differ.

    Both are {"readers": names, "approvers": names}. running: None if eximcertd does not tell.
    """
    for key, names in configured.items():
        missing = [name for name in names if not _is_group(name)]
        if missing:
            line = warning if tuple(names) == ControlSettings._field_defaults[key] else error
            yield line(f"[control] {key}: there is no group {', '.join(missing)}", "addgroup --system NAME")
    used = configured if running is None else running
    for key, names in configured.items():
        if sorted(used[key]) != sorted(names):
            yield warning(
                f"eximcertd uses [control] {key} = {_names(used[key])}; its configuration file has {_names(names)}",
                "systemctl reload eximcertd",
            )
    approvers = used["approvers"]
    yield ok(f"root and group {', '.join(approvers)} may approve" if approvers else "only root may approve")


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "(no group)"


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
