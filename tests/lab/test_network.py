"""The lab's hosts have a network of their own, which can be cut without anybody being told."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab.network import Network

if TYPE_CHECKING:
    from lab.network import Host


def reached(host: Host, address: str, port: int) -> bool:
    def reach() -> bool:
        try:
            socket.create_connection((address, port), timeout=0.5).close()
        except TimeoutError:
            return False
        return True

    return host.inside(reach)


def test_hosts_reach_each_other_until_they_are_cut_off_and_nothing_outside() -> None:
    with Network("one", "two") as network:
        one, two = network["one"], network["two"]
        with two.inside(lambda: socket.create_server((two.address, 0))) as server:
            port = server.getsockname()[1]
            assert reached(one, two.address, port)
            two.cut()
            assert not reached(one, two.address, port)
            two.mend()
            assert reached(one, two.address, port)
            with pytest.raises(OSError, match="unreachable"):
                reached(one, "192.0.2.1", port)
        link = subprocess.run([*one.enter, "/usr/sbin/ip", "link"], capture_output=True, text=True, check=True).stdout
        assert "eth0" in link
        assert "bridge" not in link
