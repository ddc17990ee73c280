"""A hand-written configuration: which lines it needs, and the place of each. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.cli.setup import clauses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.cli.check.printed_config import PrintedConfig, Statement
    from eximcertd.cli.setup.clauses import SiteNames

_INDENT: Final = " " * 10


class Addition(NamedTuple):
    """Lines, and where they belong: a sentence."""

    where: str
    lines: str


OPTIONS: Final = (
    "acl_smtp_rcpt", "acl_smtp_connect", "acl_smtp_starttls", "log_selector", "tls_advertise_hosts", "tls_certificate",
    "tls_privatekey", "tls_try_verify_hosts", "tls_verify_certificates",
)  # fmt: skip
"""The options that ``additions`` needs."""


def additions(
    printed: PrintedConfig, options: dict[str, str], names: SiteNames, value: str | None, configuration: Path
) -> Iterator[Addition]:
    """Yield what is missing, in the order of the file.

    options: of the main section, as ``-bP`` prints them. value: of the macro, None if it is not defined.
    """
    include, main, statements, acls = clauses.by_hand(names)
    if str(names.file) not in printed.included:
        yield Addition(f"Add at the top of {configuration}:", include)
    yield from _main(main, options, names)
    yield from _statements(statements, printed, options, {names.macro: value or ""})
    yield from _acls(acls, printed, options)


def _main(main: str, options: dict[str, str], names: SiteNames) -> Iterator[Addition]:
    lines = []
    for line in main.splitlines():
        name, equals, value = line.partition(" = ")
        found = options.get(name, "")
        if not equals or _will_do(name, found, value, names):
            continue
        if name == "log_selector":
            value = f"{found} {value}".strip()
        lines += [f"# instead of {name} = {found}"] if found else []
        lines.append(f"{name} = {value}")
    if not options.get("tls_advertise_hosts", "*"):
        lines.append("tls_advertise_hosts = *")
    if not options.get("tls_certificate"):
        lines.append("# Exim's own certificate and key, the key readable by Exim's group alone:")
        lines += [f"{name} = {names.file.parent}/exim.{end}" for name, end in _PAIR if not options.get(name)]
    if lines:
        yield Addition('Set in the main section, before the first "begin":', "\n".join(lines) + "\n")


def _will_do(name: str, found: str, value: str, names: SiteNames) -> bool:
    if name == "tls_verify_certificates":
        return clauses.trusts(found, names)
    if name in {"acl_smtp_connect", "acl_smtp_starttls"}:
        return bool(found)  # statements are added to an ACL of the site's own
    if name == "log_selector":
        return "+pid" in found or "+all" in found
    return found == value


_PAIR: Final = (("tls_certificate", "crt"), ("tls_privatekey", "key"))


def _statements(
    statements: str, printed: PrintedConfig, options: dict[str, str], macros: dict[str, str]
) -> Iterator[Addition]:
    start = options.get("acl_smtp_rcpt", "")
    if start not in printed.acls:
        what = f"{start!r} is no ACL of this configuration" if start else "is not set"
        yield Addition(
            f"acl_smtp_rcpt {what}. Set acl_smtp_rcpt = acl_check_rcpt, and add to the ACL section:",
            f"acl_check_rcpt:\n{statements}\n  deny    message       = relay not permitted\n",
        )
        return
    reached = list(printed.reached(start))
    if _stands(statements, [one for _, one, late in reached if not late], macros):
        return
    refusing = next(((name, one) for name, one, _ in reached if one.refuses_relaying), None)
    if refusing is None:
        yield Addition(f"Add in the ACL {start}, before the statement that refuses to relay:", statements)
        return
    name, statement = refusing
    local = statement.values("domains")
    if local:
        # what that statement lets pass is mail for this site, which is no attempt to relay
        statements = re.sub(
            r"^(  (?:defer|warn) .*\n)", rf"\1{_INDENT}!domains      = {local[0]}\n", statements, flags=re.MULTILINE
        )
    yield Addition(f"Add in the ACL {name}, before the statement\n\n{_shown(statement)}\n\nthe statements", statements)


def _acls(acls: str, printed: PrintedConfig, options: dict[str, str]) -> Iterator[Addition]:
    """Yield the two ACLs that concern connections, or where their statements go in ACLs that the site has."""
    new = []
    for text in re.split(r"\n\n(?=acl_)", acls.strip()):
        name, _, statements = text.partition(":\n")
        option = "acl_smtp_connect" if name == clauses.CONNECT_ACL else "acl_smtp_starttls"
        own = options.get(option, "")
        if _stands(statements, printed.acls.get(own or name, []), {}):
            continue
        if own and own != name:
            first = re.sub(r"^  accept", "  warn  ", statements) if name == clauses.CONNECT_ACL else statements
            yield Addition(f"Add at the beginning of the ACL {own} ({option}):", first.removesuffix("  accept") + "\n")
        else:
            new.append(text)
    if new:
        yield Addition("Add at the end of the ACL section:", "\n\n".join(new) + "\n")


def _stands(statements: str, there: list[Statement], macros: dict[str, str]) -> bool:
    """Tell whether every line of statements, with its macros replaced, occurs in statements of the configuration.

    Messages may differ, and comments are no part of it.
    """
    for macro, value in macros.items():
        statements = statements.replace(macro, value)
    found = {_squeezed(f"{name}={value}" if value else name) for one in there for name, value in one.parts}
    lines = (re.sub(r"^  (?:accept|defer|deny|drop|warn)\b", "", line) for line in statements.splitlines())
    return {
        _squeezed(line) for line in lines if "=" in line and not line.lstrip().startswith(("message", "#"))
    } <= found


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def _shown(statement: Statement) -> str:
    parts = [f"{name} = {value}" if value else name for name, value in statement.parts]
    lines = [f"  {statement.verb:<7} {parts[0] if parts else ''}".rstrip(), *(_INDENT + one for one in parts[1:])]
    return "\n".join(f"  {line}" for line in lines)
