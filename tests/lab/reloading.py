"""The real eximcertd-reload for an Exim of the lab: its configuration, and asking it as a program.

with EximServer(trusted=[alice]) as exim:
    assert Reloader(exim).publish(alice.fingerprint).outcome == "loaded"
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd.fingerprint import Fingerprint
from eximcertd.publish.macrofile import list_value, lookup_value
from eximcertd.reload.request import FIRST_LINE, OUTCOMES
from lab.configured import Configured
from lab.daemon import program
from lab.exim import EXIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.exim import EximServer

LIMIT: Final = 60


class Told(NamedTuple):
    """An answer, as it came. daemons: process id -> whether it was seen to have loaded the file."""

    outcome: str
    step: str
    message: str
    exim: str
    rewritten_by: str | None
    daemons: dict[int, bool]


class Reloader(Configured):
    """Exim's user's part for one Exim. settings: values of the configuration file that differ, by section.

    wrapper: a command in front of the program, such as setpriv.
    """

    def __init__(
        self,
        exim: EximServer,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.exim: Final = exim
        self.wrapper = tuple(wrapper)
        directory = exim.directory / "reload"
        super().__init__(
            directory,
            {
                "allowlist": {"file": str(exim.macro_file)},
                "exim": {"binary": str(EXIM), "config": str(exim.configuration)},
                "state": {"directory": str(directory)},
            },
            settings,
        )

    def command(self) -> list[str]:
        """Return the command that asks it."""
        return [*self.wrapper, program("eximcertd-reload"), "--config", str(self.config)]

    def raw(self, request: bytes) -> subprocess.CompletedProcess[bytes]:
        """Run it on a request's bytes."""
        return subprocess.run(self.command(), input=request, capture_output=True, timeout=LIMIT, check=False, cwd="/")

    def ask(self, action: str, fingerprints: Sequence[str] = ()) -> Told:
        """Run it on a request. Raises AssertionError with what it printed if that is no answer."""
        lines = [FIRST_LINE, action, f"count {len(fingerprints)}", *fingerprints, "end", ""]
        done = self.raw("\n".join(lines).encode())
        assert done.returncode == 0, done
        fields = json.loads(done.stdout)
        assert fields["outcome"] in OUTCOMES, done
        daemons = {one["pid"]: one["loaded_at"] is not None for one in fields["daemons"]}
        return Told(**{name: fields[name] for name in Told._fields} | {"daemons": daemons})

    def validate(self, *fingerprints: str) -> Told:
        """Ask whether a list could be published."""
        return self.ask("validate list", sorted(fingerprints))

    def load(self, *fingerprints: str, action: str = "load") -> Told:
        """Ask to load the list of which the macro file is thought to consist."""
        return self.ask(f"{action} {digest(list_value(sorted(map(Fingerprint, fingerprints))))}")

    def publish(self, *fingerprints: str) -> Told:
        """Write a list, as root's part does, and have it loaded."""
        self.exim.allow(sorted(fingerprints))
        return self.load(*fingerprints)

    def publish_directory(self) -> Told:
        """Write the directory form, as root's part does, and have it loaded."""
        value = lookup_value(self.allowed)
        beside = self.exim.macro_file.with_name("beside")
        beside.write_text(f"RELAY_FROM_CERTS = {value}\n")
        os.replace(beside, self.exim.macro_file)  # noqa: PTH105 - as root's part does
        return self.ask(f"load {digest(value)}")


def digest(value: str) -> str:
    """Return the digest of a macro's value."""
    return hashlib.sha256(value.encode()).hexdigest()
