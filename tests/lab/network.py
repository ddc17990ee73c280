"""Hosts with a network of their own each, joined by a bridge: network namespaces, without a name on the machine.

    with Network("home", "mx1") as network:
        subprocess.run([*network["mx1"].enter, "ping", network["home"].address])
        network["mx1"].inside(lambda: ask(25, alice))     # in a thread that is there
        network["mx1"].cut()                              # nothing comes or goes, and nobody is told

Takes root. A namespace lasts as long as the process that holds it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET


class _Namespace:
    """A network namespace, held by a process that only sleeps."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            [
                "/usr/bin/unshare",
                "--net",
                "/bin/sh",
                "-c",
                "/usr/sbin/ip link set lo up && echo up && exec sleep infinity",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self.pid: Final = self._holder.pid
        self.enter: Final = ["/usr/bin/nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]
        if self._holder.stdout is None or self._holder.stdout.readline() != b"up\n":
            raise AssertionError("a network namespace cannot be made here")

    def run(self, *command: str) -> None:
        """Run a program in it to its end."""
        subprocess.run([*self.enter, *command], check=True, capture_output=True, timeout=20)

    def close(self) -> None:
        """End the process that holds it."""
        if self._holder.stdout is not None:
            self._holder.stdout.close()
        self._holder.kill()
        self._holder.wait()


class Host:
    """A host of the network. enter: what to put before a command to run it there. sockets: its table of TCP."""

    def __init__(self, middle: _Namespace, name: str, number: int) -> None:
        self.name: Final = name
        self.address: Final = f"10.99.0.{number}"
        self._middle: Final = middle
        self._namespace: Final = _Namespace()
        self._port: Final = f"to{number}"
        self.enter: Final = self._namespace.enter
        self.sockets: Final = Path(f"/proc/{self._namespace.pid}/net/tcp")
        self._threads = ThreadPoolExecutor(1, initializer=self._join)
        ends = ["link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", str(self._namespace.pid)]
        middle.run("ip", *ends)
        middle.run("ip", "link", "set", self._port, "master", "bridge", "up")
        self._namespace.run("ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        self._namespace.run("ip", "link", "set", "eth0", "up")

    def inside(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns in a thread that is in this host's network."""
        return self._threads.submit(call).result()

    def cut(self) -> None:
        """Let nothing through any more, at the bridge: no program on the host is told."""
        self._middle.run("ip", "link", "set", self._port, "nomaster")

    def mend(self) -> None:
        """Let everything through again."""
        self._middle.run("ip", "link", "set", self._port, "master", "bridge")

    def close(self) -> None:
        """Give it up."""
        self._threads.shutdown()
        self._namespace.close()

    def _join(self) -> None:
        descriptor = os.open(f"/proc/{self._namespace.pid}/ns/net", os.O_RDONLY)
        try:
            if _LIBC.setns(descriptor, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)


class Network:
    """Hosts by name. 10.99.0.0/24 is theirs, and no other host can be reached from it."""

    def __init__(self, *names: str) -> None:
        self._middle: Final = _Namespace()
        self._hosts: Final[dict[str, Host]] = {}
        try:
            self._middle.run("ip", "link", "add", "bridge", "type", "bridge")
            self._middle.run("ip", "link", "set", "bridge", "up")
            for number, name in enumerate(names, 1):
                self._hosts[name] = Host(self._middle, name, number)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give all of it up."""
        self.close()

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def close(self) -> None:
        """Give all of it up."""
        for host in self._hosts.values():
            with suppress(RuntimeError):
                host.close()
        self._middle.close()
