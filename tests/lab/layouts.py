"""A machine whose Exim lies elsewhere than Debian's: upstream's own, Arch's (FreeBSD's is like it), Fedora's.

    with OtherServer(LAYOUTS["fedora"]) as server, server.eximcertd():
        server.ctl("check")

The Exim is the one of scripts/build-exim-openssl. Nothing of Debian's Exim is there, neither program nor user nor
files. eximcertd is not told where anything is: it has no configuration file.
"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from lab.daemon import program
from lab.debian import HOST, DebianServer
from lab.exim import EXIM
from lab.recipe import ACL
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

ROOT: Final = Path(__file__).parents[2]
MACRO_FILE: Final = "/etc/exim/relay_from_certs"


class Layout(NamedTuple):
    """program, configuration: paths. log_file_path: the option; "" for what is compiled in. log: the main log."""

    program: str
    configuration: str
    log_file_path: str
    log: str


LAYOUTS: Final = {
    "upstream": Layout("/usr/exim/bin/exim", "/usr/exim/configure", "", "/var/spool/exim/log/mainlog"),
    "arch": Layout("/usr/bin/exim", "/etc/mail/exim.conf", "/var/log/exim/%slog", "/var/log/exim/mainlog"),
    "fedora": Layout("/usr/sbin/exim", "/etc/exim/exim.conf", "/var/log/exim/%s.log", "/var/log/exim/main.log"),
}

_CONFIGURATION: Final = """\
.include {macro_file}

primary_hostname = {host}
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
log_selector = +pid
tls_certificate = {directory}/exim.crt
tls_privatekey = {directory}/exim.key
tls_verify_certificates = /etc/ssl/certs/
tls_try_verify_hosts = *
acl_smtp_rcpt = acl_check_rcpt
{more}
begin acl

acl_check_rcpt:
{acl}
"""


class OtherServer(DebianServer):
    """The machine, its Exim running, with the published recipe and an empty list."""

    parts = "etc var run usr"

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout: Final = layout

    def prepare(self) -> None:
        """Put Exim where it lies in this layout, and configure it."""
        directory = Path(self.layout.configuration).parent
        installed = EXIM.parents[3]
        more = ""
        self.sh(f"""
            rm -rf /etc/eximcertd /etc/exim4 /usr/sbin/exim4 /usr/sbin/exim /usr/sbin/sendmail
            rm -rf /var/spool/exim* /var/log/exim* /var/lib/exim4
            usermod --login exim --home /var/spool/exim Debian-exim
            groupmod --new-name exim Debian-exim
            useradd --system --no-create-home --groups exim eximcertd
            cp -a {installed}/. /
            mkdir -p {directory} /etc/exim
            echo 'RELAY_FROM_CERTS =' >{MACRO_FILE}
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={HOST} \\
                -keyout {directory}/exim.key -out {directory}/exim.crt 2>/dev/null
            chgrp exim {directory}/exim.key
            chmod 640 {directory}/exim.key
        """)
        if self.layout.log_file_path:
            self.sh(f"""
                install -d -m 0750 -o exim -g exim /var/log/exim
                mv $(readlink -f /usr/exim/bin/exim) {self.layout.program}
                rm -r /usr/exim
            """)
            # What the other layouts' Exims are compiled with; of these there is one.
            more = f"log_file_path = {self.layout.log_file_path}\nexim_path = {self.layout.program}\n"
        text = _CONFIGURATION.format(macro_file=MACRO_FILE, host=HOST, directory=directory, more=more, acl=ACL)
        self.write(self.layout.configuration, text)

    def start_exim(self) -> None:
        """Start Exim's daemon and wait until it greets."""
        self.run(self.layout.program, "-bd", "-q30m")
        until(self.greets, "Exim greets", limit=20)

    def trust(self, identity: Identity) -> None:
        """Put a certificate into the directory that Exim trusts, with its hash link."""
        self.write(f"/etc/ssl/certs/{identity.certificate.name}", identity.pem)
        self.sh("openssl rehash /etc/ssl/certs 2>/dev/null")

    @contextmanager
    def eximcertd(self) -> Iterator[None]:
        """Run the three programs as their units do: as their users, and a process for each request at a socket."""
        with ExitStack() as running:
            for name, user in (("eximcertd-publish", "root"), ("eximcertd-reload", "exim")):
                running.enter_context(self._running(
                    "systemd-socket-activate", "--accept", "--inetd", f"--listen=/run/{name}",
                    *_as(user), program(name),
                ))  # fmt: skip
                self.sh(f"until test -S /run/{name}; do sleep 0.01; done; chmod 666 /run/{name}")
            unit = (ROOT / "packaging/systemd/eximcertd.service").read_text()
            [state] = re.findall(r"(?m)^StateDirectory=(.*)$", unit)
            self.sh(f"""
                install -d /var/lib/eximcertd
                install -d -o eximcertd -m 0700 /var/lib/eximcertd/ledger
                cd /var/lib && install -d -o eximcertd {state} /run/eximcertd
            """)
            running.enter_context(self._running(*_as("eximcertd"), program("eximcertd")))
            until(lambda: self.ctl("status", good=False).returncode == 0, "eximcertd answers", limit=20)
            yield

    @contextmanager
    def _running(self, *command: str) -> Iterator[None]:
        inside = [
            "/usr/bin/nsenter",
            f"--target={self._init}",
            "--mount",
            "--net",
            "--pid",
            "--uts",
            "--wd=/",
            *command,
        ]
        with subprocess.Popen(inside, stdin=subprocess.DEVNULL, stderr=sys.stderr) as process:
            try:
                yield
            finally:
                process.terminate()


def _as(user: str) -> list[str]:
    return [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
