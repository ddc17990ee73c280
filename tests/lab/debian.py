"""A Debian machine that is to be a server: Debian's Exim and configuration, and namespaces of its own.

    with DebianServer(split=True) as server:
        server.ctl("setup", "--yes")

/etc, /var and /run are this machine's, as they are; what is written there is seen inside alone and lost at the end. It
has its own loopback, so that Exim has port 25, and its own processes, which end with it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import pytest

from lab.tree import tree
from lab.wait import until

if TYPE_CHECKING:
    from lab.certificates import Identity

HOST: Final = "mx.lab.example"
MACROS: Final = "/etc/exim4/exim4.conf.localmacros"
SPLIT_MACROS: Final = "/etc/exim4/conf.d/main/00_site"
LIST: Final = "/etc/exim4/relay_from_certs"
both: Final = pytest.mark.parametrize("split", [True, False], ids=["split", "unsplit"])
"""For a test of Debian's two ways to configure Exim."""
_ASK: Final = """
import smtplib, ssl, sys
recipient, source, *files = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if files:
    context.load_cert_chain(*files)
try:
    with smtplib.SMTP("127.0.0.1", 25, "client.lab.example", 20, (source, 0)) as client:
        client.starttls(context=context)
        client.ehlo()
        client.docmd("MAIL FROM:<s@lab.example>")
        print(client.docmd(f"RCPT TO:<{recipient}>")[0])
except ConnectionRefusedError:
    print(0)
"""

_START: Final = """
set -e
cd "$1"
mount -t tmpfs server .
cd "$1"
for part in $PARTS; do
  mkdir -p $part.upper $part.work
  mount -t overlay server -o "lowerdir=/$part,upperdir=$part.upper,workdir=$part.work" /$part
done
mount -t proc proc /proc
ip link set lo up
touch ready
exec sleep infinity
"""


class DebianServer:
    """A machine for the length of a ``with`` block. split: how Debian configures its Exim."""

    parts = "etc var run"
    """The directories in which what is written is seen inside alone."""

    def __init__(self, *, split: bool = False) -> None:
        self._split: Final = split
        self._directory: Final = Path(tempfile.mkdtemp(prefix="debian-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        """Make it, and start its Exim as Debian does."""
        try:
            self._make()
            self.prepare()
            self.start_exim()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self) -> None:
        options = ["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--propagation", "private"]
        command: list[str | Path] = ["/usr/bin/unshare", *options, "/bin/sh", "-c", _START, "server", self._directory]
        self._process = subprocess.Popen(command, env={**os.environ, "PARTS": self.parts})
        self._init = until(self._first_process, "the machine's first process runs")
        until(lambda: Path(f"/proc/{self._init}/root{self._directory}/ready").exists(), "the machine is made")
        self.sh(f"""
            hostname mx
            printf '127.0.0.1 localhost\\n127.0.1.1 {HOST} mx\\n' >/etc/hosts
            echo {HOST} >/etc/mailname
        """)

    def prepare(self) -> None:
        """Configure its Exim."""
        self.sh(f"""
            rm -rf /etc/eximcertd /etc/exim4/exim4.conf {MACROS} /etc/exim4/conf.d/*/*eximcertd /etc/exim4/exim.*
            sed -i -e "s/^dc_use_split_config=.*/dc_use_split_config='{str(self._split).lower()}'/" \\
                -e "s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='smarthost'/" \\
                -e "s/^dc_smarthost=.*/dc_smarthost='127.0.0.9::2525'/" /etc/exim4/update-exim4.conf.conf
            find /var/spool/exim4 /var/log/exim4 -type f -delete
            update-exim4.conf
        """)

    def __exit__(self, *_: object) -> None:
        """Take it down, with all that runs in it."""
        if self._process is not None:
            self._process.kill()  # and with it, all that it started
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start_exim(self) -> None:
        """Start Exim's daemon and wait until it greets."""
        self.run("exim4", "-bd", "-q30m")
        until(self.greets, "Exim greets", limit=20)

    def run(self, *command: str | Path, given: str = "", good: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root. good: whether it must end with status 0."""
        done = subprocess.run(
            ["/usr/bin/nsenter", f"--target={self._init}", "--mount", "--net", "--pid", "--uts", "--wd=/", *command],
            input=given, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        if good and done.returncode != 0:
            raise AssertionError(
                f"{shlex.join(map(str, command))}: status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def sh(self, script: str, *, good: bool = True) -> str:
        """Run a shell script inside as root, and return what it wrote to standard output."""
        return self.run("sh", "-ec", script, good=good).stdout

    def ctl(self, *arguments: str, given: str = "", good: bool = True) -> subprocess.CompletedProcess[str]:
        """Run eximcertctl inside as root."""
        return self.run(*self.ctl_command(*arguments), given=given, good=good)

    def ctl_command(self, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs eximcertctl inside."""
        return (sys.executable, "-c", "from eximcertd.cli import main; main()", *arguments)

    def json(self, *arguments: str, good: bool = True) -> Any:
        """Return what an eximcertctl verb says with --json."""
        return json.loads(self.ctl(*arguments, "--json", good=good).stdout)

    def set_up(self, *options: str) -> Any:
        """Return what ``setup`` says; its exit status is 1, as no eximcertd runs here."""
        return self.json("setup", "--yes", *options, good=False)

    def write(self, path: str, text: str) -> None:
        """Write a file inside."""
        self.run("sh", "-ec", f"mkdir -p $(dirname {path}); cat >{path}", given=text)

    def greets(self) -> bool:
        """Tell whether something on port 25 says 220."""
        script = "exec 3<>/dev/tcp/127.0.0.1/25; head -c 3 <&3; echo QUIT >&3; cat <&3 >/dev/null"
        return "220" in self.run("bash", "-c", script, good=False).stdout

    def exim_pid(self) -> str:
        """Return the daemon's process id, as the machine numbers it."""
        return self.sh("cat /run/exim4/exim.pid").strip()

    def ask(self, identity: Identity | None, recipient: str = "r@remote.example", *, source: str = "127.0.0.2") -> int:
        """Come to its Exim over STARTTLS, with a certificate or without, and return what RCPT got.

        source: Debian relays for 127.0.0.1 without asking for anything. 0: Exim refuses connections while it reloads.
        """
        files = (str(identity.certificate), str(identity.key)) if identity else ()
        return int(self.run(sys.executable, "-c", _ASK, recipient, source, *files).stdout)

    def log(self) -> str:
        """Return Exim's main log."""
        return self.sh("cat /var/log/exim4/mainlog 2>/dev/null || true")

    def files(self) -> dict[str, str]:
        """Return what lies in /etc and in Exim's generated configuration: path -> its type, mode, owner and content."""
        return tree(Path(f"/proc/{self._init}/root"), "/etc", "/var/lib/exim4")

    def _first_process(self) -> int:
        assert self._process is not None
        text = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return int(text.split()[0]) if text.split() else 0
