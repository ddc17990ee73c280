"""The files' transport: acts and reports of relays by rsync over ssh, with the commands and files of docs/fleet.md.

Each relay fetches the acts from the home relay, and the home relay what the relays report: each second, where the page
has a minute. Paths, addresses and the user are the test's instead of the page's.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lab.fleet_page import FILES, blocks, commands
from lab.mx import Process
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from lab.network import Host

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
_SSH: Final = """\
IdentityFile {home}/id_ed25519
UserKnownHostsFile {home}/known_hosts
BatchMode yes
ConnectTimeout 2
ServerAliveInterval 2
ServerAliveCountMax 2
"""


class Place(NamedTuple):
    """Where a relay is. own: the directory of its files that lie elsewhere than in the fleet's ``directory``."""

    name: str
    host: Host
    directory: Path
    own: Path

    def there(self, text: str) -> str:
        """Return a text of the page with this relay's paths, and root for the user eximcertd-fleet."""
        text = text.replace("/usr/local/bin/fleet-pull", str(self.own / "pull"))
        text = re.sub(r"(?<![/.\w-])eximcertd-fleet(?![.\w-])", "root", text)
        return text.replace("/var/lib/eximcertd-fleet", str(self.directory))

    def run(self, screen: str, machine: str, *left_out: str) -> None:
        """Run the commands that a screen has for a machine of the page; left_out: how those begin that are not run."""
        for name, command in commands(screen):
            if name == machine and not command.startswith(left_out):
                self.do(command)

    def do(self, command: str) -> None:
        """Run a command of the page."""
        subprocess.run([*self.host.enter, "/bin/sh", "-ec", self.there(command)], check=True, timeout=20)


def settings(place: Place, *, home: bool) -> Mapping[str, Any]:
    """Return what the page says of [fleet] for a relay, without the signers."""
    (text,) = blocks(FILES, "toml")
    of: dict[str, Any] = tomllib.loads(place.there(text))["fleet"]
    return {key: of[key] for key in ("directory", "pull") if not (home and key == "pull")}


def serve(stack: ExitStack, places: Mapping[str, Place]) -> None:
    """Set the transport up, until the stack is closed; the first relay is the home relay, mx1 of the page."""
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    every, keys = blocks(FILES, "console")[:2]
    cron, authorized, _ = blocks(FILES, "")
    home, *others = places.values()
    for place in places.values():
        place.own.mkdir()
        place.run(every, "mx1", "apt", "cat")
        place.run(keys, "mx2", "ssh-keyscan")
        names = "".join(f"Host {one.name}.example.org\n HostName {one.host.address}\n" for one in places.values())
        ssh = _SSH.format(home=place.directory / ".ssh")
        (place.own / "ssh").write_text(f"{ssh}{names}")
    of_home, of_others = authorized.splitlines()
    for place in places.values():
        readers, line = (others, of_home) if place is home else ([home], of_others)
        _serve(stack, place, [place.there(line).replace("ssh-ed25519 AAAA...", _key(one)) for one in readers])
    for place in places.values():
        for name in [home] if place is not home else others:
            _know(place, keys, name)
    (pull,) = blocks(FILES, "sh")
    for place in others:
        _program(place, place.there(pull).removeprefix("#!/bin/sh\n"))
    every_minute = home.there(cron).removeprefix("* * * * * root ").strip()
    jobs = "".join(f"{every_minute.replace('mx2', one.name)} &\n" for one in others)
    _program(home, f"while sleep 1; do\n{jobs}wait\ndone\n")
    collecting = Process([*home.host.enter, home.own / "pull"], home.own / "pull-output", os.environ)
    stack.callback(collecting.stop)


def _key(place: Place) -> str:
    return " ".join((place.directory / ".ssh/id_ed25519.pub").read_text().split()[:2])


def _serve(stack: ExitStack, place: Place, authorized: list[str]) -> None:
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place.own / "host_key"], check=True)
    (place.own / "authorized_keys").write_text("".join(f"{line}\n" for line in authorized))
    (place.own / "sshd").write_text(_SSHD.format(address=place.host.address, directory=place.own))
    sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", str(place.own / "sshd")]
    daemon = Process([*place.host.enter, *sshd], place.own / "sshd-output", os.environ)
    stack.callback(daemon.stop)


def _know(place: Place, keys: str, other: Place) -> None:
    """Have a relay know another one's host key, as the page does."""
    scan = next(command for _, command in commands(keys) if command.startswith("ssh-keyscan"))
    known = place.directory / ".ssh/known_hosts"

    def asked() -> bool:
        place.do(scan.replace("mx1.example.org", other.host.address))
        return other.host.address in known.read_text()

    until(asked, f"{other.name} answers by ssh", limit=30)


def _program(place: Place, text: str) -> None:
    program = place.own / "pull"
    program.write_text(f"#!/bin/sh\nexport RSYNC_RSH='ssh -F {place.own}/ssh'\n{text}")
    program.chmod(0o755)
