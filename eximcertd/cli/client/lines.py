"""The lines that make an Exim such a client: for Debian's configuration and for a hand-written one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eximcertd.cli.client import files

if TYPE_CHECKING:
    from eximcertd.cli.client.files import Smarthost

NAME: Final = "eximcertd_client"
"""The name of our router and of our transport."""
DEBIAN_TRANSPORT: Final = "remote_smtp_smarthost"
"""The transport that Debian's configuration has for a smarthost."""

WANTED: Final[dict[str, str]] = {
    "tls_certificate": str(files.CERTIFICATE),
    "tls_privatekey": str(files.KEY),
    "hosts_require_tls": "*",
    "tls_verify_certificates": str(files.SERVER_CERTIFICATE),
    "tls_verify_hosts": "*",
    "hosts_avoid_tls": "",
}
"""What the smtp transport must have (Exim specification, chapter "The smtp transport"), as ``-bP`` prints it."""

HEAD: Final = '# Written by "eximcertctl client setup"; "eximcertctl client setup --undo" removes it.\n'


def host_item(server: Smarthost) -> str:
    """Return the server as an item of a host list, in which a colon is written twice."""
    host = server.host.replace(":", "::")
    return f"[{host}]::{server.port}" if ":" in server.host else f"{host}::{server.port}"


def router(server: Smarthost, head: str = HEAD) -> str:
    """Return the router: all mail that is not local goes to the server."""
    return f"""\
{head}{NAME}:
  debug_print = "R: {NAME} for $local_part@$domain"
  driver = manualroute
  domains = ! +local_domains
  route_list = * {host_item(server)} byname
  transport = {NAME}
  host_find_failed = defer
  same_domain_copy_routing = yes
  no_more
"""


def transport(head: str = HEAD) -> str:
    """Return the transport: our certificate is shown, and nothing is sent to another server or in clear text."""
    return f"""\
{head}{NAME}:
  debug_print = "T: {NAME} for $local_part@$domain"
  driver = smtp
  multi_domain
  tls_certificate = {files.CERTIFICATE}
  tls_privatekey = {files.KEY}
  hosts_require_tls = *
  # The file holds one certificate. Without tls_verify_hosts the mail would go to an impostor too.
  tls_verify_certificates = {files.SERVER_CERTIFICATE}
  tls_verify_hosts = *
  # That certificate is trusted by itself, whatever name is in it.
  tls_verify_cert_hostnames =
.ifdef _OPT_TRANSPORT_SMTP_HOSTS_TRY_DANE
  hosts_try_dane =
.endif
"""


def macros(server: Smarthost) -> str:
    """Return the macros with which Debian's own smarthost router and transport do the same."""
    return f"""\
{HEAD}\
DCsmarthost = {host_item(server)}
REMOTE_SMTP_SMARTHOST_TLS_CERTIFICATE = {files.CERTIFICATE}
REMOTE_SMTP_SMARTHOST_PRIVATEKEY = {files.KEY}
REMOTE_SMTP_SMARTHOST_HOSTS_REQUIRE_TLS = *
REMOTE_SMTP_SMARTHOST_TLS_VERIFY_CERTIFICATES = {files.SERVER_CERTIFICATE}
REMOTE_SMTP_SMARTHOST_TLS_VERIFY_HOSTS = *
# End of what "eximcertctl client setup" wrote.
"""
