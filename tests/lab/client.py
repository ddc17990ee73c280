"""A client Exim with the published client side, mended: it refuses a server that it does not know.

As published, without ``tls_verify_hosts``, the mail is delivered to an impostor all the same.
"""

from __future__ import annotations

import os
import pwd
import shutil
from typing import TYPE_CHECKING, Final

from lab.exim import EXIM, USER

if TYPE_CHECKING:
    from pathlib import Path

    from lab.exim import EximServer

CONFIGURATION: Final = """\
SERVER_PORT = {port}
exim_path = {exim}
exim_user = {user}
exim_group = {user}
primary_hostname = {name}
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
keep_environment =
disable_ipv6
local_interfaces = 127.0.0.1

begin routers

bounces:
  driver = accept
  domains = {name}
  transport = mailbox

smarthost:
  driver = manualroute
  route_list = * localhost byname
  self = send
  transport = remote_smtp

begin transports

remote_smtp:
  driver = smtp
  port = SERVER_PORT
  tls_certificate = {certificate}
  tls_privatekey = {key}
  hosts_require_tls = *
  tls_verify_certificates = {server}
  tls_verify_hosts = *

mailbox:
  driver = appendfile
  file = {home}/mail/box
  user = {user}

begin retry

* * F,2h,10m
"""


class EximClient:
    """A client Exim in ``directory``, where NAME.pem and NAME.key lie already; run it as ``exim4 -C CONFIGURATION``.

    It has no daemon: a message is given to it on standard input, and delivered in the background. It sends to
    the port of ``server``, or to the one given with ``-DSERVER_PORT=PORT``, and trusts nothing but
    ``server``'s certificate. Bounces go to mail/box.
    """

    def __init__(self, directory: Path, server: EximServer, name: str) -> None:
        user = pwd.getpwnam(USER)
        for part in ("spool", "log", "mail"):
            (directory / part).mkdir()
            os.chown(directory / part, user.pw_uid, user.pw_gid)
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        os.chown(key, 0, user.pw_gid)
        key.chmod(0o640)
        trusted = directory / "server.pem"
        shutil.copyfile(server.identity.certificate, trusted)
        self.configuration: Final = directory / "exim.conf"
        self.configuration.write_text(
            CONFIGURATION.format(
                port=server.port,
                exim=EXIM,
                user=USER,
                name=name,
                home=directory,
                certificate=certificate,
                key=key,
                server=trusted,
            )
        )
        self._log = directory / "log/mainlog"

    def outcomes(self, recipient: str) -> list[str]:
        """Return the lines of its main log that tell of deliveries to ``recipient``."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line for line in lines if f" {recipient} " in line]
