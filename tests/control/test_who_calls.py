"""Who calls is what the kernel says: user, groups, and the login user behind sudo."""

from __future__ import annotations

import os
import pwd
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from lab.callers import as_nobody, connected, needs_root, reachable
from lab.twins import Twin

from eximcertd.control.rights import Rights

if TYPE_CHECKING:
    from pathlib import Path


@needs_root
def test_another_user_may_ask_who_is_there_and_nothing_else(tmp_path: Path) -> None:
    tmp_path = reachable(tmp_path)
    script = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
for method in sys.argv[2:]:
    peer.sendall(b'{"method":"%s"}\\0' % method.encode())
    print(peer.recv(65536).decode())
"""
    with Twin(tmp_path / "control", rights=Rights()) as twin:
        said = as_nobody(script, str(twin.path), "org.varlink.service.GetInfo", "org.eximcertd.Status")
        assert "eximcertd" in said.splitlines()[0]
        assert "org.eximcertd.NotPermitted" in said.splitlines()[1]
        assert "nobody does not have the right to read" in said.splitlines()[1]
        assert twin.called("Status") == []


@needs_root
def test_groups_of_the_peer_count_the_primary_and_the_others(tmp_path: Path) -> None:
    tmp_path = reachable(tmp_path)
    script = "import sys; from eximcertd.control.client import Client; from pathlib import Path\n"
    script += "Client(Path(sys.argv[1])).call(sys.argv[2])"
    rights = Rights(readers=frozenset({40001}), approvers=frozenset({40002}))

    def runs(method: str, group: int, extra: list[int]) -> bool:
        command = [sys.executable, "-c", script, str(tmp_path / "control"), method]
        done = subprocess.run(
            command, capture_output=True, timeout=30, check=False, user=40000, group=group, extra_groups=extra
        )
        return done.returncode == 0

    with Twin(tmp_path / "control", rights=rights) as twin:
        assert runs("Status", 40001, [])
        assert runs("Status", 40000, [1, 2, 40001])
        assert not runs("Retry", 40000, [40001])
        assert runs("Retry", 40000, [40002])
        assert runs("Retry", 40002, [])
        assert not runs("Status", 40000, [40000, 1, 2])
        assert twin.callers[0].name == "uid 40000"


@needs_root
def test_more_groups_than_can_be_read_give_no_right(tmp_path: Path) -> None:
    tmp_path = reachable(tmp_path)
    script = "import sys; from eximcertd.control.client import Client; from pathlib import Path\n"
    script += "Client(Path(sys.argv[1])).call('Status')"
    with Twin(tmp_path / "control", rights=Rights(readers=frozenset({40001}))) as twin:
        command = [sys.executable, "-c", script, str(twin.path)]
        groups = [40001, *range(50_000, 50_300)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            user=40000,
            group=40000,
            extra_groups=groups,
        )
        assert "NotPermittedError" in done.stderr


def test_the_credentials_are_the_kernels(twin: Twin) -> None:
    with connected(twin.path) as peer:
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        assert struct.unpack("3i", raw)[1] == os.getuid()


@needs_root
def test_the_login_user_behind_sudo_is_named_where_the_kernel_tells(twin: Twin) -> None:
    login = pwd.getpwnam("daemon")
    script = f"""
import os, sys
try:
    open("/proc/self/loginuid", "w").write("{login.pw_uid}")
except OSError:
    sys.exit(77)
from pathlib import Path
from eximcertd.control.client import Client
Client(Path(sys.argv[1])).call("Status")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, str(twin.path)], timeout=30, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel keeps no login user, or does not let it be set here")
    assert done.returncode == 0
    assert twin.callers[-1].name == "daemon (via root)"
