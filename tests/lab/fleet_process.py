"""A real eximcertd-fleet beside a real eximcertd.

with Eximcertd(exim, fleet_of(home, "mx1")) as daemon, FleetProcess(daemon):
    ...
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Final, Self

from lab.daemon import program

if TYPE_CHECKING:
    from lab.daemon import Eximcertd
    from lab.home import Home


def fleet_of(home: Home, relay: str, **more: Any) -> dict[str, dict[str, Any]]:
    """Return the section [fleet] for a relay that looks at the home's directory itself."""
    fleet = {"relay": relay, "directory": str(home.directory), "signers": str(home.signers), "poll": "1s"}
    return {"fleet": {**fleet, "report": "1s", **more}}


class FleetProcess:
    """eximcertd-fleet with the configuration of an eximcertd, for the length of a ``with`` block.

    user: who it runs as, by default the user of the tests.
    """

    def __init__(self, daemon: Eximcertd, user: str | None = None) -> None:
        self._daemon: Final = daemon
        self._user: Final = user
        self._output: Final = daemon.directory / "fleet-output"

    def __enter__(self) -> Self:
        """Start it."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [program("eximcertd-fleet"), "--config", self._daemon.config],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._daemon.environment,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, which must succeed."""
        self._process.terminate()
        try:
            status = self._process.wait(20)
        finally:
            self._process.kill()
        assert status == 0, self.words()

    def words(self) -> str:
        """Return what it wrote to standard error."""
        return self._output.read_text(errors="replace")
