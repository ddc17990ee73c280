"""Asking Exim: its version, its settings, the value of a macro, its whole configuration, what a text expands to.

Exim's answers come from the configuration on disk (Exim specification, chapter "The Exim command line", -bV, -bP,
-be): they do not tell what its daemon has loaded. Each question is one bounded run of exim.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from eximcertd.exim.run import EximError, quoted, run

__all__ = ["TIME_LIMIT", "Build", "Exim", "EximError", "find"]

TIME_LIMIT: Final = 10.0
"""Seconds for one question."""

_NAMES: Final = ("exim4", "exim")
_PATH: Final = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/usr/exim/bin:/opt/exim/bin"


class Build(NamedTuple):
    """What ``exim -bV`` tells. tls: "GnuTLS", "OpenSSL" or "". config: the file that it reads."""

    version: str
    tls: str
    lookups: frozenset[str]
    config: Path | None


class Exim:
    """The exim program of this machine, with one configuration.

    binary: None looks for exim4 and exim where they usually are. config: None is Exim's own choice, the only one with
    which its daemon keeps its privilege. Raises EximError if there is no exim.
    """

    def __init__(
        self, binary: Path | None = None, config: Path | None = None, *, time_limit: float = TIME_LIMIT
    ) -> None:
        self.binary: Final = binary or find()
        self.config: Final = config
        self._time_limit = time_limit

    def version(self) -> str:
        """Return the version, such as "4.96". Raises EximError."""
        return self.build().version

    def build(self) -> Build:
        """Return version, TLS library, lookups and configuration file, from ``-bV``. Raises EximError.

        Exim reads its whole configuration for this and reports an error in it.
        """
        text = self._ask("-bV")
        version = re.match(r"Exim version (\S+)", text)
        if version is None:
            raise self._nonsense("-bV", text)
        support = re.search(r"^Support for: (.*)$", text, re.MULTILINE)
        words = support[1].split() if support else []
        lookups = " ".join(re.findall(r"^Lookups[^:\n]*: (.*)$", text, re.MULTILINE))
        file = re.search(r"^Configuration file is (.*)$", text, re.MULTILINE)
        return Build(
            version[1],
            next((word for word in words if word in {"GnuTLS", "OpenSSL"}), ""),
            frozenset(name for word in lookups.split() for name in (word, word.partition("/")[0])),
            Path(file[1]) if file else None,
        )

    def settings(self, *names: str) -> dict[str, str]:
        """Return settings of the main section as Exim prints them, booleans as "true" and "false".

        A setting that this build of Exim does not know is left out. Raises EximError.
        """
        text = self._ask("-bP", *names)
        found: dict[str, str] = {}
        last = ""
        for line in text.splitlines():
            name, equals, value = line.partition(" = ")
            bare = line.removeprefix("no_")
            if equals and name in names:
                found[name] = value
            elif not equals and line.endswith("is not a known option"):
                continue
            elif line.endswith(" =") and line[:-2] in names:
                found[name := line[:-2]] = ""
            elif bare in names:
                found[name := bare] = "true" if bare == line else "false"
            elif last:
                found[last] += "\n" + line  # a value that holds a newline
                continue
            else:
                raise self._nonsense("-bP " + " ".join(names), text)
            last = name
        if not text.strip() and names:
            raise self._nonsense("-bP " + " ".join(names), text)
        return found

    def macro(self, name: str) -> str | None:
        """Return the value that a macro has at the end of the configuration, None if there is no such macro.

        Raises EximError, also where the caller may not read the configuration.
        """
        try:
            text = self._ask("-bP", "macro", name)
        except EximError as error:
            if re.search(rf"^macro {re.escape(name)} not found$", error.words, re.MULTILINE):
                return None
            raise
        found = text.removesuffix("\n").removeprefix(f"{name}=")
        if not text.startswith(f"{name}="):
            raise self._nonsense(f"-bP macro {name}", text)
        return found

    def printed(self) -> str:
        """Return the whole configuration as Exim has read it (``-bP config``). Raises EximError.

        Included files stand in their places, each announced by a line ``# 1 "FILE"``; macros are replaced.
        """
        text = self._ask("-bP", "config")
        if not text.startswith("# Exim Configuration"):
            raise self._nonsense("-bP config", text)
        return text

    def expand(self, text: str, *, user: str | None = None) -> str:
        """Return what ``text`` expands to (``-be``), for the caller or for ``user``. Raises EximError.

        Exim gives up its privilege for this: what the user cannot read, the expansion cannot.
        """
        answer = self._ask("-be", text, user=user).removesuffix("\n")
        if answer.startswith("Failed: "):
            words = answer.removeprefix("Failed: ")
            raise EximError(f"{self.binary} cannot expand {text[:200]}: {words[:500]}", words=words)
        return answer

    def _ask(self, *arguments: str, user: str | None = None) -> str:
        chosen = ["-C", str(self.config)] if self.config else []
        command = [str(self.binary), *chosen, *arguments]
        result = run(command, self._time_limit, user=user)
        words = f"{result.err}\n{result.out}".strip()
        if result.status != 0:
            last = (result.err.strip() or words)[-500:] or f"nothing (status {result.status})"
            raise EximError(f"{quoted(' '.join(command), 200)} failed; it printed: {last}", words=words)
        return result.out

    def _nonsense(self, question: str, answer: str) -> EximError:
        printed = f"{answer[:100]!r}" if answer else "nothing"
        return EximError(
            f"{self.binary} {question} printed {printed}, which is no answer of Exim",
            hint="Set [exim] binary in the configuration to the path of Exim's program.",
            words=answer[:500],
        )


def find() -> Path:
    """Return the path of the exim program. Raises EximError if it is in none of the usual places."""
    directories = f"{_PATH}:{os.environ.get('PATH', '')}".split(":")
    for path in (Path(directory, name) for directory in directories if directory for name in _NAMES):
        if os.access(path, os.X_OK) and path.is_file():
            return path
    raise EximError(
        f"there is no program {' or '.join(_NAMES)} on this machine",
        hint="Install Exim (on Debian: apt install exim4), or set [exim] binary in the configuration.",
    )
