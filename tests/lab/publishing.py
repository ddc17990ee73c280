"""The real eximcertd-publish and eximcertd-reload for an Exim of the lab, asked as programs.

with EximServer(trusted=[alice]) as exim:
    assert Publisher(exim).list(alice.fingerprint).outcome == "done"     # root's part alone
    assert Publisher(exim).carry(alice.fingerprint).outcome == "live"    # validate, write, load
"""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from typing import TYPE_CHECKING, Any, Final

from eximcertd.fingerprint import Fingerprint
from eximcertd.publication import attempt as attempts
from eximcertd.publication.ask import PUBLISH, Programs, decode_publish, encode
from eximcertd.publication.attempt import Wanted
from eximcertd.publish.request import FIRST_LINE, Answer, Request
from eximcertd.settings import Config, PublishSettings
from lab.configured import Configured
from lab.daemon import program
from lab.exim import EXIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eximcertd.publication.ask import Program, ProgramReply
    from eximcertd.publication.attempt import Attempt
    from eximcertd.reload.request import ReloadAnswer
    from lab.exim import EximServer

LIMIT: Final = 60


class Publisher(Configured):
    """The two programs for one Exim. settings: values of the configuration file that differ, by section.

    wrapper: a command in front of root's part, such as setpriv or strace. reload_wrapper: the same for the other.
    wrapped: the beginning of the actions for which the wrappers are used; all if empty. A program that is started to
    validate a list loads it too.
    """

    def __init__(
        self,
        exim: EximServer,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        wrapper: Sequence[str] = (),
        reload_wrapper: Sequence[str] = (),
    ) -> None:
        self.file: Final = exim.macro_file
        self.wrapper = tuple(wrapper)
        self.reload_wrapper = tuple(reload_wrapper)
        self.wrapped = ""
        self.confirmed = ("", 0, 0)
        directory = exim.directory / "publisher"
        super().__init__(
            directory,
            {
                "allowlist": {"file": str(exim.macro_file)},
                "exim": {"binary": str(EXIM), "config": str(exim.configuration), "pid_file": str(exim.pid_file)},
                "state": {"directory": str(directory)},
                "publish": {"min_interval": "0s"},
            },
            settings,
        )
        self._programs = _WrappedPrograms(self)

    def command(self, *arguments: str) -> list[str]:
        """Return the command that asks root's part."""
        return [*self.wrapper, program(PUBLISH), "--config", str(self.config), *arguments]

    def raw(self, request: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run root's part on a request's bytes."""
        return subprocess.run(self.command(*arguments), input=request, capture_output=True, timeout=LIMIT, check=False)

    def ask(self, request: Request, *arguments: str) -> Answer:
        """Run root's part on a request. Raises AssertionError with what it printed if that is no answer."""
        done = self.raw(encode(FIRST_LINE, request), *arguments)
        try:
            return decode_publish(done.stdout)
        except ValueError as error:
            raise AssertionError(f"{error}: {done}") from None

    def list(self, *fingerprints: str, expected: str | None = None) -> Answer:
        """Write the list form."""
        return self.ask(Request("write list", expected, tuple(sorted(map(Fingerprint, fingerprints)))))

    def switch_to_directory(self, expected: str | None = None) -> Answer:
        """Write the directory form."""
        return self.ask(Request("write directory", expected))

    def read(self) -> Answer:
        """Read what stands."""
        return self.ask(Request("read"))

    def restore(self, expected: str) -> Answer:
        """Restore the previous file."""
        return self.ask(Request("restore", expected))

    def carry(self, *fingerprints: str, form: str = "list") -> Attempt:
        """Carry a publication through: read, validate, write, load. What is confirmed is remembered."""
        return asyncio.run(self._carry(tuple(sorted(map(Fingerprint, fingerprints))), form))

    async def _carry(self, fingerprints: tuple[Fingerprint, ...], form: str) -> Attempt:
        read = await self.publish(Request("read"))
        if read.found is None:
            return attempts.of_publish(read)
        tried = await attempts.publish(self, Wanted(form, fingerprints, self.allowed), read.found, self.confirmed)
        if tried.live and tried.found is not None:
            self.confirmed = attempts.identity(tried.found)
        return tried

    async def publish(self, request: Request) -> Answer:
        """Ask root's part as eximcertd does."""
        return await self._programs.publish(request)

    async def reload(self, request: Request) -> ReloadAnswer:
        """Ask the reload part as eximcertd does."""
        return await self._programs.reload(request)

    def via(self, name: str, action: str) -> str:
        """Return how a program is started for an action, with its wrapper."""
        wrapper = self.wrapper if name == PUBLISH else self.reload_wrapper
        if not wrapper or not action.startswith(self.wrapped):
            return f"command:{program(name)}"
        script = self.directory / f"wrapped-{name}"
        script.write_text(f'#!/bin/sh\nexec {shlex.join([*wrapper, program(name)])} "$@"\n')
        script.chmod(0o755)
        return f"command:{script}"

    def beside(self, suffix: str) -> Any:
        """Return the path of one of the files beside the macro file."""
        return self.file.with_name(f"{self.file.name}.{suffix}")


class _WrappedPrograms(Programs):
    """The two programs, each started with the wrapper that its publisher has for the action."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__(Config(publisher.config), LIMIT)
        self._publisher = publisher
        self._asked = ("", "")

    def exchange(self, name: str, raw: bytes, *, validating: bool = False) -> ProgramReply:
        self._asked = (name, raw.decode("ascii").split("\n")[1])
        return super().exchange(name, raw, validating=validating)

    def start(self, name: str) -> Program:
        asked, action = self._asked
        self._asked = ("", "")  # what is started next waits for the request that follows
        via = self._publisher.via(name, action if name == asked else "write")
        self.config = Config(self._publisher.config, publish=PublishSettings(via, via))
        return super().start(name)
