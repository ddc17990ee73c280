"""What the service manager is told (sd_notify(3)), through the sdnotify library; nothing where there is none."""

from __future__ import annotations

import os
import time
from typing import Final

import sdnotify


class Notifier:
    """Tells the service manager how it stands. wanted: whether there is one that listens.

    watchdog: seconds between two signs of life, or None.
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        self.wanted: Final = bool(os.environ.get("NOTIFY_SOCKET"))
        self.watchdog: Final = _watchdog()
        self._status = ""

    def ready(self) -> None:
        """Tell that it works; also the end of a reload, whether that went well or not."""
        self._notifier.notify("READY=1")

    def reloading(self) -> None:
        """Tell that a reload has begun; READY must follow. One datagram, or systemd waits for ever."""
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that it is on its way out."""
        self._notifier.notify("STOPPING=1")

    def alive(self) -> None:
        """Tell that loop and reader make progress."""
        self._notifier.notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``; sent when it changes."""
        if text != self._status:
            self._status = text
            self._notifier.notify("STATUS=" + text.replace("\n", " "))


def _watchdog() -> float | None:
    """Return WatchdogSec, if it is meant for this process (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(os.environ.get("WATCHDOG_USEC", "")) / 1_000_000
    except ValueError:
        return None
    return seconds if seconds > 0 else None
