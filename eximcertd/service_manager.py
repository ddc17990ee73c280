"""Notifications to the service manager (sd_notify(3)), with the sdnotify library; none where there is no manager."""

from __future__ import annotations

import os
import time
from typing import Final

import sdnotify


class Notifier:
    """Notifies the service manager. wanted: whether there is one.

    watchdog: seconds between two signs of life, or None.
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        self.wanted: Final = bool(os.environ.get("NOTIFY_SOCKET"))
        self.watchdog: Final = _watchdog()
        self._status = ""

    def ready(self) -> None:
        """Notify that the service is ready; also the end of a reload, whether it succeeded or not."""
        self._notifier.notify("READY=1")

    def reloading(self) -> None:
        """Notify that a reload has begun; READY must follow. In one datagram, or systemd waits for ever."""
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Notify that the service stops."""
        self._notifier.notify("STOPPING=1")

    def alive(self) -> None:
        """Notify that the loop and the log reader make progress."""
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
