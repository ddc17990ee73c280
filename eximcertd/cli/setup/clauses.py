"""What is put into Exim's configuration: the files of exim/ in this directory, which are the packaged examples too.

They hold the pinned recipe, with Debian's paths and eximcertd's default names. Pure, but for reading these files.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from eximcertd.settings import DEFAULT_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

Recipe = Literal["pinned", "published"]

PINNED: Final = "${if def:tls_in_peercert}"
"""The condition of the pinned recipe that stands in the place of the published one's ``verify = certificate``."""
NO_AUTHORITIES: Final = "/dev/null"
"""The pinned recipe's ``tls_verify_certificates``. With a file of authorities Exim with GnuTLS sends their names, and a
client with GnuTLS then shows a certificate only if one of them has issued it; with a directory Exim sends no names."""
TRUST: Final = "MAIN_TLS_VERIFY_CERTIFICATES"
ACL: Final = "acl_check_rcpt_certs"
CONNECT_ACL: Final = "acl_eximcertd_connect"
STARTTLS_ACL: Final = "acl_eximcertd_starttls"
WANTED: Final[dict[str, str]] = {
    "acl_smtp_rcpt": ACL,
    "tls_try_verify_hosts": "*",
    "acl_smtp_connect": CONNECT_ACL,
    "acl_smtp_starttls": STARTTLS_ACL,
}
"""Options of the main section (Exim specification, chapter "Main configuration"), as ``-bP`` prints them."""
MACROS: Final[dict[str, str | None]] = {
    "MAIN_TLS_ENABLE": None,
    "MAIN_TLS_TRY_VERIFY_HOSTS": "*",
    TRUST: "",
    "MAIN_LOG_SELECTOR": None,
    "MAIN_ACL_CHECK_RCPT": ACL,
    "LOCAL_DENY_EXCEPTIONS_LOCAL_ACL_FILE": "/etc/exim4/acl_certs",
}
"""Debian's macros that are defined, and the value that a definition of the site's own must have; None: any."""

_MACRO: Final = "RELAY_FROM_CERTS"
_FILE: Final = "/etc/exim4/relay_from_certs"
_NAMELESS: Final = re.compile(r"^# No names of authorities.*\n(\w+) = /dev/null\n", re.MULTILINE)
_AUTHORITIES: Final = "/var/lib/eximcertd/authorities"
_LOGGED: Final = f"{DEFAULT_MESSAGE} ${{sha256:$tls_in_peercert}}\n"
_WATCHED: Final = "# With the slash at its end Exim notices when a certificate is added to the directory or removed.\n"


class SiteNames(NamedTuple):
    """What differs between sites.

    macro, file: the allowlist's. certificates: the directory that Exim trusts. message: what the ACL logs.
    authorities: STATE/authorities, for the statements that clients of an authority need, or None.
    """

    recipe: Recipe
    macro: str
    file: Path
    certificates: Path
    message: str = DEFAULT_MESSAGE
    authorities: Path | None = None


def text(name: str, names: SiteNames, *, without: Collection[str] = ()) -> str:
    """Return the contents of a file of exim/. without: macros that the site defines itself."""
    found = _adapted(_with_authorities(_source(name), names), names)
    for macro in without:
        found = re.sub(rf"^(#.*\n)?{macro} = .*\n", "", found, flags=re.MULTILINE)
    return found


def by_hand(names: SiteNames) -> list[str]:
    """Return the parts for a hand-written configuration: the include, the options, the clauses, the ACLs."""
    found = _adapted(_with_authorities(_source("handwritten/exim4.conf"), names), names)
    return re.findall(r"^# eximcertd:.*\n(?:#.*\n)*((?:.*\n)*?)# end of eximcertd$", found, re.MULTILINE)


def trusts(value: str, names: SiteNames) -> bool:
    """Tell whether a value of Exim's option ``tls_verify_certificates`` will do."""
    if names.recipe == "published":
        return value == f"{names.certificates}/"
    return value == NO_AUTHORITIES or value.endswith("/")


def recipe_of(acl: str) -> Recipe:
    """Return which recipe a text of ours has."""
    return "published" if re.search(r"^\s*verify\s*= certificate$", acl, re.MULTILINE) else "pinned"


def _with_authorities(source: str, names: SiteNames) -> str:
    """Return a text with the statements for clients of an authority, if the site has them."""
    if names.authorities is None or _LOGGED not in source:
        return source
    statements = _source("authorities").partition("\n\n")[2].replace(_AUTHORITIES, str(names.authorities))
    if "!domains" not in source:  # a whole ACL of the site's, as by_hand lays it out
        statements = _aligned(statements)
    return source.replace(_LOGGED, f"{_LOGGED}\n{statements}")


def _aligned(statements: str) -> str:
    """Return statements without the exceptions that are Debian's, each condition below the first one of its verb."""
    lines = [line for line in statements.splitlines() if not line.lstrip().startswith("!")]
    text = "\n".join(re.sub(r"^    (\S+) = ", lambda found: f"{'':10}{found[1]:<13} = ", line) for line in lines)
    return re.sub(r"^  (warn|accept|defer)\n {10}", lambda found: f"  {found[1]:<8}", text, flags=re.MULTILINE) + "\n"


def _source(name: str) -> str:
    return files(__package__).joinpath("exim", *name.split("/")).read_text(encoding="utf-8")


def _adapted(source: str, names: SiteNames) -> str:
    found = source.replace(_FILE, str(names.file)).replace(_MACRO, names.macro)
    found = found.replace(DEFAULT_MESSAGE, names.message)
    if names.recipe == "pinned":
        return found
    found = re.sub(rf"condition( *)= {re.escape(PINNED)}", r"verify\1= certificate", found)
    return _NAMELESS.sub(rf"{_WATCHED}\1 = {names.certificates}/\n", found)
