"""Whether Exim's configuration holds the recipe: the macro, the ACL, the TLS options, the log. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from eximcertd.cli.check import connection_age
from eximcertd.cli.check.finding import CheckLine, error, ok, warning
from eximcertd.log.line import USE_MESSAGE, missing_selectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from eximcertd.cli.check.printed_config import PrintedConfig, Statement

SETTINGS: Final = (
    "acl_smtp_rcpt",
    "acl_smtp_connect",
    "acl_smtp_data",
    "acl_smtp_starttls",
    "tls_advertise_hosts",
    "tls_certificate",
    "tls_verify_certificates",
    "tls_try_verify_hosts",
    "tls_verify_hosts",
    "log_selector",
)
"""The options that this needs."""

_FINGERPRINT: Final = "${sha256:$tls_in_peercert}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What eximcertd's configuration says, and the macro's value, None if it is not defined.

    message: the text that the ACL logs. visible: whether the caller may see the value.
    """

    macro: str
    value: str | None
    file: Path
    message: str
    certificates: Path
    visible: bool = True


def examine(printed: PrintedConfig, settings: dict[str, str], expected: Expected) -> Iterator[CheckLine]:
    """Yield what there is to say about the configuration."""
    yield from _macro(printed, expected)
    accepting = accepting_statements(printed, settings, expected)
    yield from _acl(printed, settings, expected, accepting)
    yield from _tls(settings)
    lacking = list(connection_age.limits(printed, settings))
    if recipe_in(statement for _, statement, _ in accepting) == "pinned":
        yield from _names(settings.get("tls_verify_certificates", "system"))
        yield from lacking
    else:
        yield from _trust(settings.get("tls_verify_certificates", ""), expected)
        if lacking:
            yield ok("the published recipe does not limit how long a certificate counts in a connection: SECURITY.md")
    yield from connection_age.beginning(printed, settings)
    yield _log(settings.get("log_selector", ""))


def _log(selector: str) -> CheckLine:
    missing = [f"+{name}" for name in missing_selectors(selector)]
    if not missing:
        return ok("the log tells which host a refused client was")
    wanted = " ".join([selector, *missing]).strip()
    return warning(
        f"log_selector lacks {' '.join(missing)}: the log does not tell which host, sender and recipient a refused "
        "client was, so eximcertctl pending does not show them",
        f"set log_selector = {wanted} (on Debian: MAIN_LOG_SELECTOR)",
    )


def _macro(printed: PrintedConfig, expected: Expected) -> Iterator[CheckLine]:
    include = f".include {expected.file}"
    if str(expected.file) not in printed.included:
        yield error(
            f"Exim's configuration does not include the macro file {expected.file}",
            f'put "{include}" at the top of Exim\'s configuration (on Debian: see /usr/share/doc/eximcertd)',
        )
        return
    if not expected.visible:
        yield ok(f"Exim's configuration includes {expected.file}")
        return
    if expected.value is None:
        yield error(
            f"the macro {expected.macro} is not defined, so no client can relay",
            f"{expected.file} does not define it: eximcertctl status says why; see [allowlist] macro",
        )
        return
    yield ok(f"Exim's configuration includes {expected.file}, which defines {expected.macro}")


def recipe_in(accepting: Iterable[Statement]) -> Literal["pinned", "published"] | None:
    """Return the recipe of the statements that accept the clients on the list, None if there is none.

    If statements of both are there, the fingerprint alone decides: pinned.
    """
    found = [statement for statement in accepting if statement.verifies or statement.pins]
    if any(not statement.verifies for statement in found):
        return "pinned"
    return "published" if found else None


_Reached = list[tuple[str, "Statement", bool]]
"""ACL, statement, and whether relaying is refused before it."""


def accepting_statements(printed: PrintedConfig, settings: dict[str, str], expected: Expected) -> _Reached:
    """Return the statements for RCPT that accept the clients on the list."""
    reached = printed.reached(settings.get("acl_smtp_rcpt", ""))
    return [one for one in reached if one[1].verb == "accept" and _uses(one[1], expected)]


def _acl(
    printed: PrintedConfig, settings: dict[str, str], expected: Expected, accepting: _Reached
) -> Iterator[CheckLine]:
    start = settings.get("acl_smtp_rcpt", "")
    if start not in printed.acls:
        value = f"{start!r}, which is not an ACL of this configuration" if start else "empty"
        yield error(f"acl_smtp_rcpt is {value}: no client with a certificate can relay", _RECIPE)
        return
    if not accepting:
        yield _nowhere(printed, settings, expected)
    else:
        name, statement, late = accepting[0]
        if not statement.verifies and not statement.pins:
            yield error(
                f'ACL {name} uses {expected.macro} without "verify = certificate": expired certificates pass',
                f'put "verify = certificate" before its condition, or "{_PIN}" if the fingerprint alone decides',
            )
        elif late:
            yield error(
                f"ACL {name} uses {expected.macro} after the statement that refuses to relay: it is never reached",
                _EARLIER,
            )
        else:
            recipe = recipe_in(one for _, one, _ in accepting)
            how = "by the fingerprint alone (pinned)" if recipe == "pinned" else "with verify = certificate (published)"
            both = len({one.verifies for _, one, _ in accepting if one.verifies or one.pins}) > 1
            also = "; a statement of the published recipe is there too, and changes nothing" if both else ""
            yield ok(f"ACL {name} accepts clients on the list, {how}{also}")
            yield _use(name, statement)
    recipe = recipe_in(statement for _, statement, _ in accepting)
    yield from _logging(list(printed.reached(start)), expected, recipe)


def _use(name: str, statement: Statement) -> CheckLine:
    line = f"{USE_MESSAGE} {_FINGERPRINT}"
    if any(line == text for text in statement.values("logwrite")):
        return ok(f"ACL {name} logs who relays")
    return ok(f'who still relays is not logged; "logwrite = {line}" at the end of that statement would tell')


_PIN: Final = "condition = ${if def:tls_in_peercert}"
_RECIPE: Final = "put the recipe's two statements into the ACL for RCPT: see eximcertd(8), SETTING UP EXIM"
_EARLIER: Final = "move the recipe's two statements before the one that refuses to relay"


def _nowhere(printed: PrintedConfig, settings: dict[str, str], expected: Expected) -> CheckLine:
    """Say where the list is used instead of in the ACL for RCPT."""
    start = settings.get("acl_smtp_rcpt", "")
    data = settings.get("acl_smtp_data", "")
    if any(s.verb == "accept" and _uses(s, expected) for _, s, _ in printed.reached(data)):
        return error(
            f"{expected.macro} is used in the ACL for DATA ({data}): recipients are refused before",
            "move the recipe's two statements into the ACL for RCPT",
        )
    for name, statements in printed.acls.items():
        if any(_uses(statement, expected) for statement in statements):
            return error(
                f"ACL {name} uses {expected.macro}, but Exim never runs it",
                f"set acl_smtp_rcpt = {name} (on Debian: MAIN_ACL_CHECK_RCPT), or call it from {start}",
            )
    return error(f"no ACL accepts the clients on the list {expected.macro}", _RECIPE)


def _logging(reached: _Reached, expected: Expected, recipe: str | None) -> Iterator[CheckLine]:
    logging = [
        (name, statement, late)
        for name, statement, late in reached
        if any(_FINGERPRINT in text for text in statement.values("logwrite"))
    ]
    right = [(name, s, late) for name, s, late in logging if _logs(s, expected.message)]
    if not logging:
        yield error("no ACL logs the fingerprint of a refused client: eximcertd sees none", _RECIPE)
    elif not right:
        text = logging[0][1].values("logwrite")[0]
        yield error(
            f'the ACL logs "{text}", but eximcertd looks for "{expected.message} {_FINGERPRINT}"',
            "make [log] message and the ACL's logwrite equal",
        )
    elif all(late for _, _, late in right):
        yield error(f"ACL {right[0][0]} logs after the statement that refuses to relay: it is never reached", _EARLIER)
    elif not any(s.verifies or s.pins for _, s, _ in right):
        yield error(
            'the ACL logs without "verify = certificate": any client fills the log and the pending list',
            f'put "verify = certificate" before its condition, or "{_PIN}" if the fingerprint alone decides',
        )
    elif recipe == "pinned" and all(s.verifies for _, s, _ in right):
        yield error(
            f"ACL {right[0][0]} logs only clients whose certificate Exim verifies, but the fingerprint alone decides",
            f'put "{_PIN}" in the place of "verify = certificate" in the statement that logs',
        )
    elif recipe == "published" and not any(s.verifies for _, s, _ in right):
        yield warning(
            f"ACL {right[0][0]} accepts with verify = certificate, but logs clients whose certificate Exim does not "
            "verify too: Exim does not relay for these when they are approved",
            f'put "verify = certificate" or "{_PIN}" into both statements',
        )
    else:
        yield ok(f"ACL {right[0][0]} logs clients with a certificate that are not on the list")
        if recipe == "pinned" and not any(s.logs_certificate for _, s, _ in logging):
            yield warning(
                "the log does not hold the certificate of a refused client: eximcertctl pending does not show whose it "
                "is, and eximcertd does not know its dates unless its file is in the certificate directory",
                "eximcertctl setup writes the line, or prints it",
            )


def _logs(statement: Statement, message: str) -> bool:
    return any(text.strip() == f"{message} {_FINGERPRINT}" for text in statement.values("logwrite"))


def _uses(statement: Statement, expected: Expected) -> bool:
    """Tell whether a statement asks whether the client's fingerprint is on the list."""
    wanted = {_squeezed(expected.macro), _squeezed(expected.value or "")}
    for condition in statement.values("condition"):
        asked = re.search(r"(!?)inlist\{\$\{sha256:\$tls_in_peercert\}\}\{(.*)\}\}$", _squeezed(condition))
        if asked is not None and not asked[1] and (asked[2] in wanted or not expected.visible):
            return True
    return False


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def _tls(settings: dict[str, str]) -> Iterator[CheckLine]:
    if not settings.get("tls_advertise_hosts", "*").strip():
        yield error("tls_advertise_hosts is empty: no client can use TLS", "set tls_advertise_hosts = *")
    if "tls_certificate" in settings and not settings["tls_certificate"]:
        yield warning(
            "tls_certificate is empty: Exim makes a self-signed certificate at each start",
            "set tls_certificate (on Debian: MAIN_TLS_ENABLE = yes, with /etc/exim4/exim.crt and exim.key)",
        )
    asks = [settings.get(name, "").strip() for name in ("tls_try_verify_hosts", "tls_verify_hosts")]
    if not any(asks):
        yield error(
            "tls_try_verify_hosts is empty: Exim asks no client for its certificate",
            "set tls_try_verify_hosts = * (on Debian: MAIN_TLS_TRY_VERIFY_HOSTS)",
        )
    elif "*" not in asks:
        yield warning(
            f"only some clients are asked for a certificate: {' and '.join(filter(None, asks))}",
            "if others have to relay too, set tls_try_verify_hosts = *",
        )
    else:
        yield ok("every client is asked for a certificate")


def _names(trusted: str) -> Iterator[CheckLine]:
    """Say whether Exim sends names of authorities with its request for a certificate (pinned recipe)."""
    if trusted and trusted != "/dev/null" and not trusted.endswith("/"):
        yield error(
            f"tls_verify_certificates = {trusted}: Exim sends the names of these authorities, and a client with GnuTLS "
            "(Debian's Exim) shows no self-signed certificate to it",
            "set tls_verify_certificates = /dev/null (on Debian: MAIN_TLS_VERIFY_CERTIFICATES)",
        )


def _trust(trusted: str, expected: Expected) -> Iterator[CheckLine]:
    wanted = f"{expected.certificates}/"
    remedy = f"set tls_verify_certificates = {wanted} (on Debian: MAIN_TLS_VERIFY_CERTIFICATES)"
    if not trusted or trusted == "system":
        what = "the system's own bundle" if trusted else "nothing"
        yield error(f"tls_verify_certificates is {what}: a certificate in {wanted} is not trusted", remedy)
    elif trusted.rstrip("/") != str(expected.certificates):
        yield error(
            f"Exim trusts the certificates in {trusted}, but eximcertd looks in {expected.certificates}",
            f"{remedy}, or set [certificates] directory to Exim's",
        )
    elif not trusted.endswith("/"):
        yield error(
            f"tls_verify_certificates = {trusted} lacks the slash at its end: until Exim is reloaded a new certificate "
            "is not trusted and a removed one is",
            remedy,
        )
    else:
        yield ok(f"Exim trusts the certificates in {trusted}")
