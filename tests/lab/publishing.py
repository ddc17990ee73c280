"""The real eximcertd-publish for an Exim of the lab: its configuration, and asking it as a program.

with EximServer(trusted=[alice]) as exim:
    assert Publisher(exim).list(alice.fingerprint).outcome == "live"
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Final

from eximcertd.fingerprint import Fingerprint
from eximcertd.publish.old_request import Answer, Request, decode_answer, encode
from lab.daemon import program
from lab.exim import EXIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.exim import EximServer

LIMIT: Final = 60


class Publisher:
    """Root's part for one Exim. settings: values of the configuration file that differ, by section.

    wrapper: a command in front of the program, such as setpriv or strace.
    """

    def __init__(
        self,
        exim: EximServer,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.file: Final = exim.macro_file
        self.directory: Final = exim.directory / "publisher"
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        self.config: Final = self.directory / "eximcertd.toml"
        self.allowed: Final = self.directory / "allowed"
        self.wrapper = tuple(wrapper)
        self._settings: dict[str, dict[str, Any]] = {
            "allowlist": {"file": str(exim.macro_file)},
            "exim": {"binary": str(EXIM), "config": str(exim.configuration), "pid_file": str(exim.pid_file)},
            "state": {"directory": str(self.directory)},
            "publish": {"min_interval": "0s"},
        }
        self.configure(settings or {})

    def configure(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Change values of the configuration file and write it; None leaves a key out."""
        lines = []
        for section, values in settings.items():
            self._settings.setdefault(section, {}).update(values)
        for section, values in self._settings.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
        self.config.write_text("\n".join(lines) + "\n")
        self.config.chmod(0o644)

    def command(self, *arguments: str) -> list[str]:
        """Return the command that asks it."""
        return [*self.wrapper, program("eximcertd-publish"), "--config", str(self.config), *arguments]

    def raw(self, request: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run it on a request's bytes."""
        return subprocess.run(self.command(*arguments), input=request, capture_output=True, timeout=LIMIT, check=False)

    def ask(self, request: Request, *arguments: str) -> Answer:
        """Run it on a request. Raises AssertionError with what it said if that is no answer."""
        done = self.raw(encode(request), *arguments)
        try:
            return decode_answer(done.stdout)
        except ValueError as error:
            raise AssertionError(f"{error}: {done}") from None

    def list(self, *fingerprints: str, standing: str | None = None) -> Answer:
        """Publish the list form."""
        return self.ask(Request("list", tuple(sorted(map(Fingerprint, fingerprints))), standing))

    def switch_to_directory(self, standing: str | None = None) -> Answer:
        """Publish the directory form."""
        return self.ask(Request("directory", (), standing))

    def verify(self) -> Answer:
        """Verify what stands."""
        return self.ask(Request(None))

    def allow(self, *fingerprints: str) -> None:
        """Put fingerprints into the directory of the directory form, as eximcertd does."""
        self.allowed.mkdir(exist_ok=True)
        self.allowed.chmod(0o755)
        for fingerprint in fingerprints:
            (self.allowed / fingerprint).touch()

    def beside(self, suffix: str) -> Any:
        """Return the path of one of the files beside the macro file."""
        return self.file.with_name(f"{self.file.name}.{suffix}")
