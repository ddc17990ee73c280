"""The recipe: what stands in the configuration of a server Exim that relays by certificate."""

from __future__ import annotations

from typing import Final

ACL: Final = """\
  accept  verify        = certificate
          condition     = ${if inlist{${sha256:$tls_in_peercert}}{RELAY_FROM_CERTS}}
          control       = submission
          control       = dkim_disable_verify

  warn    verify        = certificate
          condition     = ${if !inlist{${sha256:$tls_in_peercert}}{RELAY_FROM_CERTS}}
          logwrite      = Attempt to relay from a certificate which has not been explicitly allowed: \
${sha256:$tls_in_peercert}

  deny    message       = relay not permitted
"""
"""The clauses of the RCPT ACL, as published; the last one is what any relay has."""

PINNED_ACL: Final = """\
  accept  condition     = ${if def:tls_in_peercert}
          condition     = ${if inlist{${sha256:$tls_in_peercert}}{RELAY_FROM_CERTS}}
          control       = submission
          control       = dkim_disable_verify

  warn    condition     = ${if def:tls_in_peercert}
          condition     = ${if !inlist{${sha256:$tls_in_peercert}}{RELAY_FROM_CERTS}}
          logwrite      = Attempt to relay from a certificate which has not been explicitly allowed: \
${sha256:$tls_in_peercert}

  deny    message       = relay not permitted
"""
"""The pinned recipe: the fingerprint alone decides, no certificate has to lie on the server."""

CONFIGURATION: Final = """\
{before}
.include {macro_file}

exim_path = {exim}
exim_user = {user}
exim_group = {user}
primary_hostname = server.lab.example
qualify_domain = lab.example
spool_directory = {home}/spool
log_file_path = {log_file_path}
log_selector = {log_selector}
pid_file_path = {home}/run/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
daemon_startup_retries = 3
daemon_startup_sleep = 1s
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 200
smtp_connect_backlog = 128
recipients_max = 0
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
tls_verify_certificates = {home}/certs/
tls_try_verify_hosts = *
acl_smtp_rcpt = acl_check_rcpt
{main}

begin acl

acl_check_rcpt:
{acl}

begin routers

mailbox:
  driver = accept
  transport = mailbox

begin transports

mailbox:
  driver = appendfile
  file = {home}/mail/box
  user = {user}
"""
"""The rest, to be formatted: a server for the lab, with everything of its own below ``home``."""
