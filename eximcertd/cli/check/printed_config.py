"""The files and ACLs of Exim's configuration, from what ``exim -bP config`` prints. Pure.

It prints what Exim has read: included files in their places, each announced by a line ``# 1 "FILE"``, macros
replaced, ``.ifdef`` resolved, one condition a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from eximcertd.log.certificate_line import LITERAL

if TYPE_CHECKING:
    from collections.abc import Iterator

VERBS: Final = ("accept", "defer", "deny", "discard", "drop", "require", "warn")

_ENTERED = re.compile(r'# \d+ "(.*)"')
_ACL_NAME = re.compile(r'"?([A-Za-z0-9_-]+)"?\s*:')
_CONDITION = re.compile(r"(!?\s*[a-z_]+)\s*=\s*(.*)")
_MODIFIERS: Final = frozenset(
    {"add_header", "continue", "control", "delay", "endpass", "log_message", "log_reject_target", "logwrite", "message"}
    | {"queue", "remove_header", "set", "udpsend"}
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of an ACL. parts: (name, value) of its conditions and modifiers; a negated name has a "!"."""

    verb: str
    parts: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """Return the values of all conditions or modifiers of a name."""
        return [value for key, value in self.parts if key == name]

    @property
    def conditions(self) -> list[str]:
        """The names of the conditions, negated ones with a "!"."""
        return [name for name, _ in self.parts if name.lstrip("!") not in _MODIFIERS]

    @property
    def verifies(self) -> bool:
        """It requires a verified certificate."""
        return any(re.match(r"certificate\b", value) for value in self.values("verify"))

    @property
    def pins(self) -> bool:
        """It requires a certificate, verified or not: the fingerprint alone decides."""
        return any(re.search(r"[^!\s]\s*def:tls_in_peercert\b", value) for value in self.values("condition"))

    @property
    def logs_certificate(self) -> bool:
        """It writes the client's certificate into the log, after the text that eximcertd looks for."""
        text, value = LITERAL.decode(), "${base64:$tls_in_peercert}"
        return any(logged.startswith(text) and value in logged for logged in self.values("logwrite"))

    @property
    def refuses_relaying(self) -> bool:
        """It refuses every client that wants to relay: no condition, or one on the recipient's domain."""
        if self.verb in {"deny", "drop"}:
            return not self.conditions
        return self.verb == "require" and "domains" in self.conditions


@dataclass(frozen=True, slots=True)
class PrintedConfig:
    """included: the files that were read. acls: name -> statements, in their order."""

    included: frozenset[str]
    acls: dict[str, list[Statement]] = field(default_factory=dict)

    def reached(self, start: str) -> Iterator[tuple[str, Statement, bool]]:
        """Yield ACL, statement, and whether relaying is refused before it, for an ACL and those that it calls."""
        yield from self._reached(start, {start}, late=False)

    def _reached(self, name: str, seen: set[str], *, late: bool) -> Iterator[tuple[str, Statement, bool]]:
        for statement in self.acls.get(name, []):
            yield name, statement, late
            for called in statement.values("acl"):
                inner = called.split(maxsplit=1)[0] if called.split() else ""
                if inner in self.acls and inner not in seen:
                    seen.add(inner)
                    yield from self._reached(inner, seen, late=late)
            late = late or statement.refuses_relaying


def read(text: str) -> PrintedConfig:
    """Return what ``exim -bP config`` printed."""
    included: set[str] = set()
    acls: dict[str, list[Statement]] = {}
    section = statements = None
    for line in text.splitlines():
        entered = _ENTERED.fullmatch(line)
        if entered is not None:
            included.add(entered[1])
        elif line.startswith("begin "):
            section = line.split()[1]
        elif section == "acl" and line.strip():
            named = _ACL_NAME.fullmatch(line.strip())
            if named is not None:
                statements = acls.setdefault(named[1], [])
            elif statements is not None:
                _add(statements, line.strip())
    return PrintedConfig(frozenset(included), acls)


def _add(statements: list[Statement], line: str) -> None:
    word, _, rest = line.partition(" ")
    if word in VERBS and not rest.lstrip().startswith("="):
        statements.append(Statement(word, ()))
        line = rest.strip()
    if line and statements:
        found = _CONDITION.fullmatch(line)
        part = (re.sub(r"\s", "", found[1]), found[2]) if found else (line, "")
        last = statements[-1]
        statements[-1] = Statement(last.verb, (*last.parts, part))
