"""A whole Debian machine with a real systemd, booted by tests/systemd/lab.

    with Machine("bookworm", deb) as machine:
        machine.run("systemctl", "is-active", "eximcertd")

Every file in it but its own root file system is lost when it is taken down.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, Final, Self

from lab.dialogue import at_terminal
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.certificates import Identity

LAB: Final = Path(__file__).parents[1] / "systemd" / "lab"
SINK: Final = LAB.with_name("sink.py").read_text(encoding="utf-8")
CLIENT: Final = LAB.with_name("client.py").read_text(encoding="utf-8")


class Machine:
    """A machine, up for the length of a ``with`` block. shared: a directory of the host's, read-only at /mnt.

    name: of one of several machines of a suite.
    """

    def __init__(self, suite: str, shared: Path, name: str = "") -> None:
        self.suite: Final = suite
        self._name: Final = name
        self._shared = f"--bind-ro={shared}:/mnt"
        self._lock = -1

    def __enter__(self) -> Self:
        """Boot it, once nobody else on this host has a machine of this Debian and name."""
        lock = "-".join(filter(None, ["eximcertd-lab", self.suite, self._name]))
        self._lock = os.open(Path(gettempdir()) / f"{lock}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._lab("down")
            self._lab("up", self._shared)
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take it down."""
        try:
            self._lab("down")
        finally:
            os.close(self._lock)

    def reboot(self) -> None:
        """Power off cleanly and boot again; what was written is kept."""
        self._lab("reboot", self._shared)

    def lose_power(self) -> None:
        """Kill everything at once and boot again."""
        self._lab("kill", self._shared)

    def run(
        self, *command: str, given: str = "", good: bool = True, limit: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root. good: whether it must end with status 0. limit: seconds."""
        done = subprocess.run(
            [str(LAB), "run", *command],
            input=given, capture_output=True, text=True, check=False, timeout=limit, env=self._environment,
        )  # fmt: skip
        if good and done.returncode != 0:
            raise AssertionError(f"{shlex.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def typed(self, command: str, answers: Sequence[str] = (), *, user: str = "root") -> str:
        """Run a shell command at a terminal, as a user in the user's home directory, and return what is seen there.

        answers: what is typed at each question that ends in "[y/N]: ".
        """
        login = f"cd ~{user}; {command}"
        return at_terminal(
            [str(LAB), "run", "runuser", "-u", user, "--", "bash", "-c", login], answers, self._environment
        )

    def connect(self, other: Machine, ours: str, theirs: str) -> None:
        """Lay a cable to another machine. ours, theirs: the address of each end, with the length of its network."""
        self.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "other-end")
        outside = f"/proc/{self.leader()}/ns/net"
        subprocess.run(
            ["/usr/bin/nsenter", f"--net={outside}", "ip", "link", "set", "other-end", "netns", str(other.leader())],
            check=True, capture_output=True, timeout=20,
        )  # fmt: skip
        for machine, end, address in ((self, "cable", ours), (other, "other-end", theirs)):
            machine.sh(f"ip address add {address} dev {end}; ip link set {end} up")

    def sh(self, script: str, *, good: bool = True) -> str:
        """Run a shell script inside as root, and return what it wrote to standard output."""
        return self.run("sh", "-ec", script, good=good).stdout

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file inside, owned by root."""
        self.run("sh", "-ec", f"cat >{shlex.quote(path)}; chmod {mode} {shlex.quote(path)}", given=text)

    def install(self, package: Path) -> None:
        """Install or upgrade the package, which lies in the shared directory."""
        self.forget_starts()
        self.run("dpkg", "--force-confmiss", "--force-confold", "-i", f"/mnt/{package.name}")

    def restart(self) -> None:
        """Restart eximcertd, as often as a test likes."""
        self.forget_starts()
        self.run("systemctl", "restart", "eximcertd")

    def forget_starts(self) -> None:
        """Have systemd forget how often it has started eximcertd lately."""
        self.run("systemctl", "reset-failed", "eximcertd", "eximcertd-publish.socket", good=False)

    def ctl(self, *arguments: str, user: str = "root", good: bool = True) -> subprocess.CompletedProcess[str]:
        """Run eximcertctl inside, as a user."""
        prefix = () if user == "root" else ("runuser", "-u", user, "--")
        return self.run(*prefix, "eximcertctl", *arguments, good=good)

    def json(self, *arguments: str) -> Any:
        """Return what an eximcertctl verb says with --json."""
        return json.loads(self.ctl(*arguments, "--json").stdout)

    def entry(self, identity: Identity) -> dict[str, Any] | None:
        """Return what "eximcertctl list" says of a certificate, None if it is not there."""
        listed: list[dict[str, Any]] = self.json("list")
        return next((entry for entry in listed if entry["fingerprint"] == identity.fingerprint), None)

    def attempts(self, identity: Identity) -> int:
        """Return how many attempts of a certificate were counted."""
        entry = self.entry(identity)
        return int(entry["attempts"]) if entry else 0

    def counted(self, identity: Identity, number: int) -> None:
        """Wait until so many attempts of a certificate were counted: never more, and soon no less."""

        def looked() -> bool:
            found = self.attempts(identity)
            if found > number:
                raise AssertionError(f"{found} attempts were counted, and there were {number}")
            return found == number

        until(looked, f"{number} attempts are counted", limit=120)

    def settle(self) -> None:
        """Wait until no message is being delivered, and eximcertd, where it runs, has read Exim's log to its end."""
        until(lambda: self.run("sh", "-c", _SETTLED, good=False).returncode == 0, "the machine has settled", limit=60)

    def unit(self, name: str, key: str) -> str:
        """Return a property of a unit, as systemctl shows it."""
        return self.run("systemctl", "show", "--value", f"--property={key}", name).stdout.strip()

    def pid(self, name: str = "eximcertd.service") -> int:
        """Return the main process of a service, as the machine numbers it."""
        return int(self.unit(name, "MainPID"))

    def path(self, path: str) -> Path:
        """Return where the host finds a file of the machine."""
        return Path(f"/proc/{self.leader()}/root{path}")

    def from_outside(self, pid: int) -> int:
        """Return the number that the host has for a process or thread of the machine."""
        space = Path(f"/proc/{self.leader()}/ns/pid").readlink()
        for status in Path("/proc").glob("[0-9]*/task/[0-9]*/status"):
            with suppress(OSError):  # it may end while it is looked at
                numbers = re.search(r"^NSpid:\s(.*)$", status.read_text(encoding="utf-8"), re.MULTILINE)
                if numbers and numbers[1].split()[1:] == [str(pid)] and (status.parent / "ns/pid").readlink() == space:
                    return int(status.parent.name)
        raise AssertionError(f"no process of the machine has the number {pid}")

    def trust(self, identity: Identity) -> None:
        """Put a certificate into the machine's certificate directory, and the key where its client has it.

        Exim would see it after five seconds or so; it is restarted to see it now.
        """
        name = f"{identity.name}.pem"
        self.write(f"/etc/ssl/certs/{name}", identity.pem)
        self.write(f"/root/{name}", identity.pem + identity.key.read_text())
        self.restart_exim()

    def become(self, host: str, *, type_: str = "local", smarthost: str = "", interfaces: str = "127.0.0.1") -> None:
        """Give it a name, Debian's answers for its Exim, and the package in root's home directory."""
        short = host.partition(".")[0]
        self.sh(f"""
            hostname {short}; echo {short} >/etc/hostname; echo {host} >/etc/mailname
            printf '127.0.0.1 localhost\n127.0.1.1 {host} {short}\n' >/etc/hosts
            sed -i -e "s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='{type_}'/" \
                -e "s/^dc_smarthost=.*/dc_smarthost='{smarthost}'/" \
                -e "s/^dc_local_interfaces=.*/dc_local_interfaces='{interfaces}'/" \
                -e "s/^dc_other_hostnames=.*/dc_other_hostnames='{host}'/" /etc/exim4/update-exim4.conf.conf
            update-exim4.conf
            cp /mnt/eximcertd_*.deb /root/eximcertd.deb
        """)
        self.restart_exim()

    def rely_on(self, variant: str) -> None:
        """Set Exim up as eximcertd's documentation says. variant: "split", "unsplit" or "handwritten"."""
        examples = f"/usr/share/doc/eximcertd/examples/exim/{variant}"
        split = "true" if variant == "split" else "false"
        self.sh(f"""
            printf 'RELAY_FROM_CERTS =\n' >/etc/exim4/relay_from_certs
            openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=lab.invalid -days 9 \\
                -keyout /etc/exim4/exim.key -out /etc/exim4/exim.crt 2>/dev/null
            chown root:Debian-exim /etc/exim4/exim.key; chmod 640 /etc/exim4/exim.key
            sed -i -e "s/^dc_use_split_config=.*/dc_use_split_config='{split}'/" \\
                -e "s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='smarthost'/" \\
                -e "s/^dc_smarthost=.*/dc_smarthost='192.0.2.2::2525'/" /etc/exim4/update-exim4.conf.conf
            cp -r {examples}/. /etc/exim4/
            if [ {variant} != handwritten ]; then update-exim4.conf; fi
            exim4 -bV >/dev/null
        """)
        self.restart_exim()

    def rcpt(self, identity: Identity, *, times: int = 1, send: bool = False) -> int:
        """Come to the machine's Exim with a certificate, and return what RCPT (or, send: the message) got.

        times: so many RCPTs in one session. 0: no connection.
        """
        arguments = (f"/root/{identity.name}.pem", str(times), "send" if send else "ask")
        return int(self.run("python3", "-", *arguments, given=CLIENT).stdout)

    def sink(self) -> None:
        """Start the server that the machine relays to, in a network of its own: Exim sends nothing to itself.

        If it runs, nothing is done; a boot of the machine ends it.
        """
        self.write("/root/sink.py", SINK)
        self.sh("""
            if systemctl --quiet is-active sink; then exit; fi
            ip netns add beyond
            ip link add here type veth peer name there netns beyond
            ip address add 192.0.2.1/24 dev here; ip link set here up
            ip -n beyond address add 192.0.2.2/24 dev there; ip -n beyond link set there up
            systemd-run --quiet --unit=sink ip netns exec beyond python3 /root/sink.py
        """)

    def arrived(self) -> str:
        """Return every message that was relayed, one after the other."""
        return self.sh("cat /root/arrived 2>/dev/null || true")

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Return the records of this boot that match."""
        said = self.run("journalctl", "--boot", "--output=json", "--no-pager", "--quiet", *matches).stdout
        return [json.loads(line) for line in said.splitlines()]

    def record(self, *matches: str) -> dict[str, Any]:
        """Wait for the one record of this boot that matches, and return it: journald may lag behind a reply."""
        (found,) = until(lambda: self.journal(*matches), f"the journal has {' '.join(matches)}", limit=30)
        return found

    def restart_exim(self) -> None:
        """Restart the machine's Exim, as often as a test likes, and wait until it listens."""
        self.sh("systemctl reset-failed exim4; systemctl restart exim4")
        until(lambda: "220" in self.sh(_GREETING, good=False), "Exim greets", limit=20)

    def leader(self) -> int:
        """Return the number that the host has for its first process."""
        return int(self._lab("leader"))

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SUITE": self.suite, "MACHINE": self._name}

    def _lab(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(LAB), *arguments], capture_output=True, text=True, check=False, timeout=900, env=self._environment,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode != 0:
            raise AssertionError(f"lab {arguments[0]}: status {done.returncode}\n{done.stderr}")
        return done.stdout


_SETTLED: Final = r"""
daemon=$(cat /run/exim4/exim.pid 2>/dev/null)
[ -z "$(pgrep -x 'exim4|exim|sendmail|mail' | grep -vx "${daemon:-0}")" ] || exit 1
systemctl -q is-active eximcertd || exit 0
read=$(eximcertctl status --json | sed -n 's/.*"position": \([0-9]*\).*/\1/p')
[ "$read" = "$(stat -c %s /var/log/exim4/mainlog 2>/dev/null || echo 0)" ]
"""
_GREETING: Final = "exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/25; head -c 3 <&3; echo QUIT >&3; cat <&3 >/dev/null'"
