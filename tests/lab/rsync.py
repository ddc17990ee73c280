"""The files' transport of docs/fleet.md: acts and reports of relays by rsync over ssh, with a restricted key.

Each relay fetches the acts from the home relay, and the home relay what the relays report: each second, where
docs/fleet.md has a minute.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from lab.network import Host
from lab.mx import Process

_SSHD: Final = """\
ListenAddress {address}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
"""
_SSH: Final = (
    "ssh -F none -i {key} -o BatchMode=yes -o ConnectTimeout=2 -o ServerAliveInterval=2 -o ServerAliveCountMax=2"
    " -o UserKnownHostsFile={known} -o HostKeyAlias=fleet"
)
_SERVE: Final = "/usr/sbin/runuser -u root -- /usr/bin/rrsync -ro"
_FETCH: Final = '#!/bin/sh\nexec rsync -rt --delete --timeout=5 -e "{ssh}" {home}: {directory}/acts/\n'
_COLLECT: Final = """\
#!/bin/sh
while sleep 1; do
  for relay in {relays}; do
    rsync -t --timeout=5 --max-size=8M -e "{ssh}" ${{relay#*=}}:${{relay%=*}}.json {directory}/relays/ &
  done
  wait
done
"""


def serve(stack: ExitStack, base: Path, hosts: Mapping[str, Host], directories: Mapping[str, Path]) -> None:
    """Let each host serve what the others may read, until the stack is closed; the first one is the home relay.

    base: where keys and, for each host, the program ``pull`` are made. directories: the fleet's, by host.
    """
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    home = next(iter(hosts))
    key = base / "transport"
    for path in (key, base / "host_key"):
        subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    known = base / "known_hosts"
    known.write_text(f"fleet {(base / 'host_key.pub').read_text()}")
    ssh = _SSH.format(key=key, known=known)
    for name, host in hosts.items():
        directory, own = directories[name], base / name
        own.mkdir()
        for part in (directory, directory / "acts", directory / "relays"):
            part.mkdir(exist_ok=True)
            part.chmod(0o755)
        (own / "host_key").write_bytes((base / "host_key").read_bytes())
        (own / "host_key").chmod(0o600)
        served = directory / ("acts" if name == home else "relays")
        public = key.with_suffix(".pub").read_text()
        (own / "authorized_keys").write_text(f'restrict,command="{_SERVE} {served}" {public}')
        (own / "sshd").write_text(_SSHD.format(address=host.address, directory=own))
        daemon = Process(
            [*host.enter, "/usr/sbin/sshd", "-D", "-e", "-f", own / "sshd"], own / "sshd-output", os.environ
        )
        stack.callback(daemon.stop)
        pull = own / "pull"
        if name == home:
            others = " ".join(f"{one}={there.address}" for one, there in hosts.items() if one != home)
            pull.write_text(_COLLECT.format(relays=others, ssh=ssh, directory=directory))
        else:
            pull.write_text(_FETCH.format(ssh=ssh, home=hosts[home].address, directory=directory))
        pull.chmod(0o755)
        if name == home:
            collecting = Process([*host.enter, pull], own / "pull-output", os.environ)
            stack.callback(collecting.stop)
