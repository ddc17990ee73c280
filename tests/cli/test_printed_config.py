"""Exim's printed configuration (exim -bP config) is taken apart into its ACLs and statements."""

from __future__ import annotations

from eximcertd.cli.check.printed_config import Statement, read


def test_a_printed_configuration_is_taken_apart() -> None:
    printed = read(
        """# Exim Configuration (4.96)
# 1 "/etc/exim4/exim4.conf"
acl_smtp_rcpt = a

begin acl

  a:
    accept hosts = :
    deny
    domains = +local_domains
    !acl = b
    message = accept = no
    endpass
    require verify = certificate
  b:
    warn

begin routers

  c:
    driver = accept
"""
    )
    assert printed.included == {"/etc/exim4/exim4.conf"}
    assert printed.acls == {
        "a": [
            Statement("accept", (("hosts", ":"),)),
            Statement(
                "deny",
                (("domains", "+local_domains"), ("!acl", "b"), ("message", "accept = no"), ("endpass", "")),
            ),
            Statement("require", (("verify", "certificate"),)),
        ],
        "b": [Statement("warn", ())],
    }
