"""What the administrator of the fleet's database runs, as input of psql. Nothing here connects to a database."""

# ruff: noqa: S608 - each name has been checked by _quoted, and the values are constants of this program
from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Final

from eximcertd.errors import UsageError
from eximcertd.fingerprint import NEVER
from eximcertd.fleet.database import VERSION
from eximcertd.status import TABLE, Refusal, Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROLE: Final = re.compile(r"(?!pg_|fleet_|postgres$)[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,62}")
"""A role's name has 63 octets at most, and is the ``by`` of an act."""

_FLEET: Final = "\\set ON_ERROR_STOP on\n\\connect fleet\n"
_LIMITS: Final = {
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "temp_file_limit": "64MB",
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
}
"""Of each role. Without the keepalives, connections that are lost count against the role's limit for two hours."""


def init() -> str:
    """Return what makes the database "fleet" with its roles, in a cluster that has none."""
    return f"{_of_package('schema.sql')}{_functions()}"


def upgrade() -> str:
    """Return what brings an older database to this program's version. It refuses a newer one."""
    return f"""{_FLEET}BEGIN;
DO $$ BEGIN
  IF (SELECT version FROM fleet.version) > {VERSION} THEN
    RAISE 'this database is newer than eximcertctl: its version is not {VERSION}';
  END IF;
END $$;
{_functions()}COMMIT;
"""


def add_relay(name: str) -> str:
    """Return what lets a relay in: its name is its role, and the CN of its certificate. Raises UsageError."""
    return (
        f"{_FLEET}BEGIN;\n{_role(name, 'fleet_relay', 5)}INSERT INTO fleet.relay (name) VALUES ('{name}');\nCOMMIT;\n"
    )


def add_person(name: str, *, decides: bool) -> str:
    """Return what lets a person in, to decide or to read. Raises UsageError."""
    return f"{_FLEET}BEGIN;\n{_role(name, 'fleet_approver' if decides else 'fleet_reader', 20)}COMMIT;\n"


def remove(name: str) -> str:
    """Return what shuts a relay or a person out, at once. The acts of a person stay. Raises UsageError."""
    role = _quoted(name)
    return f"""{_FLEET}ALTER ROLE {role} NOLOGIN;
SELECT count(pg_terminate_backend(pid, 10000)) AS ended FROM pg_stat_activity WHERE usename = '{name}';
DELETE FROM fleet.relay WHERE name = '{name}';
DROP ROLE {role};
"""


def back_to(generation: int) -> str:
    """Return what removes every act after a generation, for acts that relays refuse. Relays rebase those they have."""
    return f"""{_FLEET}BEGIN;
ALTER TABLE fleet.act DISABLE TRIGGER appended;
DELETE FROM fleet.standing;
DELETE FROM fleet.settled WHERE generation > {generation:d};
DELETE FROM fleet.act WHERE generation > {generation:d};
ALTER TABLE fleet.act ENABLE TRIGGER appended;
INSERT INTO fleet.standing SELECT DISTINCT ON (name, authority) decode(name, 'hex'), authority, fleet.becomes(line[4]),
    generation
  FROM (SELECT generation, string_to_array(convert_from(text, 'UTF8'), E'\\n') AS line FROM fleet.act) acts,
    unnest(trim_array(line[11:], 1)) name, LATERAL (SELECT line[4] IN ('authorize', 'withdraw') AS authority) verb
  ORDER BY name, authority, generation DESC;
UPDATE fleet.head SET (generation, hash) = (SELECT coalesce(max(generation), 0),
  coalesce((array_agg(hash ORDER BY generation DESC))[1], repeat('0', 64)) FROM fleet.act);
SELECT generation AS newest_act FROM fleet.head;
COMMIT;
"""


def _role(name: str, group: str, connections: int) -> str:
    role = _quoted(name)
    limits = "".join(f"ALTER ROLE {role} SET {limit} = '{value}';\n" for limit, value in _LIMITS.items())
    return f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {connections} IN ROLE {group};\n{limits}"


def _quoted(name: str) -> str:
    if not _ROLE.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be a role of the fleet",
            hint="a name has 1 to 63 letters, digits and _.@+-, and does not begin with pg_ or fleet_",
        )
    return f'"{name}"'


def _functions() -> str:
    """Return the functions, and the rows of rules that come from this program's tables."""
    rules = [
        (status, verb, outcome.sentence)
        for (status, verb), outcome in TABLE.items()
        if isinstance(outcome, Refusal) and status is not Status.PENDING and verb not in {Verb.SEE, Verb.ADOPT}
    ]
    return f"""{_of_package("functions.sql")}DELETE FROM fleet.rule;
INSERT INTO fleet.rule VALUES
{_rows(rules)};
DELETE FROM fleet.never;
INSERT INTO fleet.never VALUES
{_rows(NEVER.items())};
UPDATE fleet.version SET version = {VERSION};
RESET ROLE;
"""


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    quoted = ([f"'{value.replace(chr(39), chr(39) * 2)}'" for value in row] for row in rows)
    return ",\n".join(f"  ({', '.join(values)})" for values in quoted)


def _of_package(name: str) -> str:
    return resources.files("eximcertd.fleet").joinpath(name).read_text(encoding="utf-8")
