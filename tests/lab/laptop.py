"""A Debian machine that is to be a client: Debian's own Exim and configuration, in namespaces of its own.

    with Laptop() as laptop:
        laptop.ctl("client", "setup", "server.lab.example:2525", "--yes", "--server-fingerprint", fingerprint)

/etc, /var and /run are this machine's, as they are; whatever is written there is seen inside alone and lost at the
end. The network is this machine's: ``server.lab.example`` is 127.0.0.2, since Exim sends nothing to an address that
is its own.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, Self

from lab.tree import tree
from lab.wait import until

SERVER: Final = "server.lab.example"
ADDRESS: Final = "127.0.0.2"
HERE: Final = platform.freedesktop_os_release().get("VERSION_CODENAME", "trixie")
"""This machine's Debian."""
TRIXIES_EXIM: Final = ("exim4-daemon-heavy", "exim4-config", "exim4-base")
UNPACK: Final = Path(__file__).parents[2] / "scripts/unpack"

_MOUNTS: Final = """
set -e
cd "$1"
mount -t tmpfs laptop .
cd "$1"
for part in etc var run; do
  mkdir "$part.upper" "$part.work"
  if [ -n "$PROGRAMS" ] && [ -d "$PROGRAMS/$part" ]; then cp -a "$PROGRAMS/$part/." "$part.upper"; fi
  mount -t overlay laptop -o "lowerdir=/$part,upperdir=$part.upper,workdir=$part.work" "/$part"
done
if [ -n "$PROGRAMS" ]; then
  mkdir usr.upper usr.work
  mount -t overlay laptop -o "lowerdir=$PROGRAMS/usr:/usr,upperdir=usr.upper,workdir=usr.work" /usr
fi
touch ready
exec sleep infinity
"""


def unpacked(suite: str, *packages: str) -> Path:
    """Return where packages of a Debian are unpacked, to be laid over a laptop."""
    done = subprocess.run([UNPACK, suite, *packages], capture_output=True, text=True, check=True, timeout=600)
    return Path(done.stdout.strip())


class Laptop:
    """A machine for the length of a ``with`` block. split: how Debian configures its Exim. type_: and for what.

    programs: a directory with unpacked Debian packages, laid over this machine's own files.
    """

    def __init__(self, *, split: bool = False, type_: str = "local", programs: Path | None = None) -> None:
        self._split: Final = split
        self._type: Final = type_
        self._programs: Final = programs
        self._directory: Final = Path(tempfile.mkdtemp(prefix="laptop-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make it."""
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self) -> None:
        self._process = subprocess.Popen(
            [
                "/usr/bin/unshare",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                _MOUNTS,
                "laptop",
                self._directory,
            ],
            env={**os.environ, "PROGRAMS": str(self._programs or "")},
        )
        until(lambda: self._inside("ready").exists(), "the laptop's file systems are mounted")
        self.sh(f"""
            sed -i '/{SERVER}/d' /etc/hosts
            echo '{ADDRESS} {SERVER}' >>/etc/hosts
            echo laptop.lab.example >/etc/mailname
            rm -rf /etc/eximcertd /etc/exim4/exim4.conf /etc/exim4/exim4.conf.localmacros
            sed -i -e "s/^dc_use_split_config=.*/dc_use_split_config='{str(self._split).lower()}'/" \\
                -e "s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='{self._type}'/" \\
                -e "s/^dc_smarthost=.*/dc_smarthost=''/" /etc/exim4/update-exim4.conf.conf
            find /var/spool/exim4 /var/log/exim4 -type f -delete
            update-exim4.conf
        """)

    def __exit__(self, *_: object) -> None:
        """Take it down, with all that still runs in it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def run(self, *command: str | Path, given: str = "", good: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root. good: whether it must end with status 0."""
        done = subprocess.run(
            ["/usr/bin/nsenter", f"--target={self._init()}", "--mount", "--pid", "--wd=/", *command],
            input=given, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if good and done.returncode != 0:
            raise AssertionError(
                f"{shlex.join(map(str, command))}: status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def sh(self, script: str, *, good: bool = True) -> str:
        """Run a shell script inside as root, and return what it wrote to standard output."""
        return self.run("sh", "-ec", script, good=good).stdout

    def ctl(
        self, *arguments: str, given: str = "", user: str = "root", good: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run eximcertctl inside, as a user."""
        start = "from eximcertd.cli import main; main()"
        prefix = () if user == "root" else ("runuser", "-u", user, "--")
        return self.run(*prefix, sys.executable, "-c", start, *arguments, given=given, good=good)

    def without_exim(self) -> None:
        """Hide Exim: what is left is a machine that has none."""
        self.sh("for program in exim4 exim; do mount --bind /dev/null /usr/sbin/$program; done")

    def json(self, *arguments: str, good: bool = True) -> Any:
        """Return what an eximcertctl verb says with --json."""
        return json.loads(self.ctl(*arguments, "--json", good=good).stdout)

    def send(self, recipient: str = "bob@remote.example") -> None:
        """Write a message with Exim, and wait until it is delivered, bounced, or waits in the queue."""
        message = f"To: {recipient}\nSubject: hello\n\nhello\n"
        self.run("exim4", "-odf", "-f", "alice@laptop.lab.example", recipient, given=message, good=False)

    def queued(self) -> int:
        """Return how many messages wait in Exim's queue."""
        return int(self.run("exim4", "-bpc").stdout)

    def log(self) -> str:
        """Return Exim's main log."""
        return self.sh("cat /var/log/exim4/mainlog 2>/dev/null || true")

    def files(self, *directories: str) -> dict[str, str]:
        """Return what lies in directories: path -> its type, mode, owner and content."""
        return tree(self._root(), *directories)

    def _inside(self, name: str) -> Path:
        return self._root() / str(self._directory).lstrip("/") / name

    def _root(self) -> Path:
        return Path(f"/proc/{self._init()}/root")

    def _init(self) -> str:
        """Return the process id of its first process."""
        assert self._process is not None
        pid = self._process.pid
        return until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().strip(), "the laptop has a process")
