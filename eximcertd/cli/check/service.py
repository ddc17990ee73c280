"""What eximcertd itself tells: its findings, what is approved, and the groups that it uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.check.access import User
from eximcertd.cli.check.finding import CheckLine, Verdict, error, ok, unknown
from eximcertd.cli.context import each
from eximcertd.cli.times import moment
from eximcertd.errors import EximcertdError, NoAnswerError, NotPermittedError
from eximcertd.fingerprint import FingerprintError, parse

if TYPE_CHECKING:
    from eximcertd.cli.context import Context
    from eximcertd.control.client import Client

_MOST_COMPARED: Final = 100_000


@dataclass(slots=True)
class ServiceReport:
    """user: of the process that answers, None if nothing does. approved: fingerprints that Exim's list must hold.

    loaded: when Exim was last seen to load the macro file, in seconds since the epoch. approved and groups are None
    where they are not known.
    """

    lines: list[CheckLine] = field(default_factory=list)
    user: User | None = None
    approved: frozenset[str] | None = None
    loaded: float = 0.0
    groups: dict[str, list[str]] | None = None


def ask(context: Context) -> ServiceReport:
    """Ask eximcertd over its control socket. Raises ConfigurationError."""
    service = ServiceReport()
    try:
        with context.client() as client:
            _fill(service, client)
    except NoAnswerError as failure:
        service.lines = [error(failure.message, failure.hint)]
    except NotPermittedError:
        service.lines = [unknown("what eximcertd knows (only members of its groups do)")]
    except FingerprintError as failure:
        service.lines = [
            error(
                f"eximcertd answers with a malformed fingerprint: {failure}",
                "restart eximcertd; if that does not help, see journalctl -u eximcertd",
            )
        ]
    except EximcertdError as failure:
        service.lines = [error(f"eximcertd answers with an error: {failure.message}", failure.hint)]
    return service


def _fill(service: ServiceReport, client: Client) -> None:
    service.user = User.of_peer(client.peer())
    status = client.call("Status")["status"]
    loaded = moment(status["allowlist"]["loaded_at"])
    service.loaded = loaded.timestamp() if loaded else 0.0
    service.groups = status["control"]
    service.lines = [ok(f"eximcertd {status['version']} answers (process {status['pid']})")]
    service.lines += [_line(given) for given in client.call("Check")["lines"]]
    if status["counts"]["approved"] <= _MOST_COMPARED:
        service.approved = frozenset(
            parse(entry["fingerprint"])  # it becomes a part of what Exim is asked to expand
            for entry in each(client, "List", "entries", standings=["approved"], prefixes=[])
            if entry["listed"]
        )


def _line(given: dict[str, Any]) -> CheckLine:
    return CheckLine(Verdict(given["verdict"]), given["sentence"], given["remedy"])
