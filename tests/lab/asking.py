"""Asking one of the two programs, as eximcertd does, without a whole publication."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from eximcertd.publication.ask import Programs
from eximcertd.settings import Config, PublishSettings

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.publish.request import Answer, Request
    from eximcertd.reload.request import ReloadAnswer


def programs(via: str, config: Path, limit: float = 60, *, reload_via: str = "") -> Programs:
    """Return the two programs. via: how the first is reached, and the other unless reload_via says more."""
    return Programs(Config(config, publish=PublishSettings(via, reload_via or via)), limit)


def ask_publish(via: str, config: Path, request: Request, limit: float) -> Answer:
    """Ask root's part."""
    return asyncio.run(programs(via, config, limit).publish(request))


def ask_reload(via: str, config: Path, request: Request, limit: float) -> ReloadAnswer:
    """Ask the reload part."""
    asked = programs(via, config, limit)
    try:
        return asyncio.run(asked.reload(request))
    finally:
        asked.close()
