"""The program eximcertd-reload: requests on standard input, an answer to each on standard output.

A publication makes two, to validate a list and to load it: one program serves both, since starting Python takes longer
than what it does.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd import settings
from eximcertd.exim.daemons import daemons
from eximcertd.exim.run import EximError
from eximcertd.publish.request import SLOWEST, NoRequestError, RequestError, receive
from eximcertd.reload.load import check_command_lines, load
from eximcertd.reload.request import (
    ACTIONS,
    DIED,
    FAILED,
    FIRST_LINE,
    LOADED,
    NOT_RUNNING,
    REFUSED,
    SKIPPED,
    VALID,
    DaemonState,
    ReloadAnswer,
    ReloadError,
    encode_answer,
)
from eximcertd.reload.validate import candidate, live, lookups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.exim.daemons import EximFacts
    from eximcertd.publish.request import Request
    from eximcertd.settings import Config

_USAGE: Final = "usage: eximcertd-reload [--config FILE]\n"
_MOST_REQUESTS: Final = 2
_TABLES: Final = ("allowlist", "exim", "state", "publish")


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit status: 0 an answer was given, 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--help"]:
        sys.stdout.write(_USAGE)
        return 0
    if given and (given[0] != "--config" or len(given) != 2):  # noqa: PLR2004 - the option and its argument
        sys.stderr.write(_USAGE)
        return 2
    file = Path(given[1]).absolute() if given else settings.DEFAULT_FILE
    for number in range(_MOST_REQUESTS):
        try:
            answer = _answer(file, first=number == 0)
        except NoRequestError:
            break
        if answer.outcome == DIED:
            sys.stderr.write(f"<2>{answer.message}\n")  # sd-daemon(3): critical, in the journal
        with suppress(BrokenPipeError):  # the caller may have closed the connection
            os.write(1, encode_answer(answer))
        if answer.outcome not in {VALID, SKIPPED} or not select.select([0], [], [], SLOWEST)[0]:
            break
    return 0


class _Timings:
    """The step that is done now, and the seconds that each took."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self.current = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Do one step."""
        self.current, began = name, time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = round(time.monotonic() - began, 6)


def _answer(file: Path, *, first: bool = True) -> ReloadAnswer:
    """Serve a request. Raises NoRequestError if there is none, and it is not the first."""
    steps = _Timings()
    try:
        answer = _carry_out(file, steps)
    except ReloadError as error:
        answer = error.answer
    except EximError as error:
        answer = ReloadAnswer(FAILED, message=str(error).replace("\n  ", ". "), exim=error.words)
    except RequestError as error:
        if isinstance(error, NoRequestError) and not first:
            raise
        answer = ReloadAnswer(REFUSED, message=f"the request is refused: {error}")
    except settings.SettingsError as error:
        answer = ReloadAnswer(REFUSED, message=str(error).replace("\n", "; "))
    except OSError as error:
        answer = ReloadAnswer(FAILED, message=f"{error.filename or file}: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - the caller must get an answer
        import traceback  # noqa: PLC0415 - only for a fault of ours

        traceback.print_exc()
        answer = ReloadAnswer(FAILED, message=f"a fault in eximcertd-reload: {error!r}; please report it")
    failed = "" if answer.outcome in (VALID, SKIPPED, LOADED, NOT_RUNNING) else answer.step or steps.current
    return answer._replace(step=failed, timings=steps.timings)


def _carry_out(file: Path, steps: _Timings) -> ReloadAnswer:
    """Do what is asked. Raises ReloadError, EximError, RequestError, SettingsError and OSError."""
    with steps.step("request"):
        config = _configuration(file)
        request = receive(0, FIRST_LINE, ACTIONS, config.publish.max_fingerprints)
    verb, _, what = request.action.partition(" ")
    with steps.step("validate"):
        validated = candidate(config, _value(config, request)) if verb == "validate" else live(config, what)
        if request.action != "validate list":  # else only Exim was asked, and a request to load the list follows
            _become(validated.facts)
        if what == "directory" or (verb != "validate" and "dsearch" in validated.value):
            lookups(config, validated.facts)
    if verb == "validate":
        return ReloadAnswer(VALID)
    if config.exim.reload == "none":  # each Exim process reads the file itself
        return ReloadAnswer(LOADED if verb == "load" else VALID)
    with steps.step("reload" if verb == "load" else "daemons"):
        if verb == "load":
            return load(validated.facts, config.allowlist.macro, validated.seconds)
        found = daemons(validated.facts)
        check_command_lines(found, config.allowlist.macro, {})
        return ReloadAnswer(VALID, daemons=tuple(DaemonState(daemon.pid, None) for daemon in found))


def _configuration(file: Path) -> Config:
    try:
        with file.open("rb") as stream:
            raw = stream.read(settings.LARGEST_FILE + 1)
    except FileNotFoundError:
        if file != settings.DEFAULT_FILE:
            raise
        raw = b""
    except PermissionError:
        raise settings.SettingsError(f"{file}: Exim's user has to be able to read it: chmod 644 {file}") from None
    return settings.decode(raw, file, _TABLES)


def _value(config: Config, request: Request) -> str:
    from eximcertd.publish import macrofile  # noqa: PLC0415 - not to load

    if request.action.endswith("directory"):
        return macrofile.lookup_value(config.allowed)
    return macrofile.list_value(request.fingerprints)


def _become(facts: EximFacts) -> None:
    """Become Exim's user where this is root: nothing but Exim can be signalled then."""
    if os.geteuid() == 0 and facts.user != 0:
        os.setgroups([facts.group])
        os.setresgid(facts.group, facts.group, facts.group)
        os.setresuid(facts.user, facts.user, facts.user)
