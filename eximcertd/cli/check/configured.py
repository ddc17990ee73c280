"""The statements of Exim's own configuration that accept the clients on the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eximcertd.cli.check.printed_config import read
from eximcertd.cli.check.recipe import Expected, accepting_statements

if TYPE_CHECKING:
    from eximcertd.cli.check.printed_config import Statement
    from eximcertd.exim.settings import Exim
    from eximcertd.settings import Config


def configured_statements(exim: Exim, config: Config) -> list[Statement]:
    """Return these statements, in the order in which the ACL for RCPT reaches them. Raises EximError."""
    macro = config.allowlist.macro
    expected = Expected(macro, exim.macro(macro), config.macro_file, config.log.message, config.certificates.directory)
    accepting = accepting_statements(read(exim.printed()), exim.settings("acl_smtp_rcpt"), expected)
    return [statement for _, statement, _ in accepting]
