"""Asking the exim program: its version, its settings, the value of a macro, what a text expands to.

Exim's answers come from the configuration on disk (Exim specification, chapter "The Exim command line",
-bP, -bV, -be): they never prove what its daemon has loaded. Each question is one bounded run of exim.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from eximcertd.errors import EximcertdError

TIME_LIMIT: Final = 10.0
"""Seconds for one question."""

LARGEST_ANSWER: Final = 96 << 20
"""Bytes; a macro that lists a million fingerprints fits."""

_NAMES: Final = ("exim4", "exim")
_PATH: Final = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/usr/exim/bin:/opt/exim/bin"
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class EximError(EximcertdError):
    """Exim is missing, hangs, prints nonsense, or complains. words: what it said itself, or ""."""

    def __init__(self, message: str, *, hint: str = "", words: str = "") -> None:
        super().__init__(message, hint=hint)
        self.words = words


@dataclass(frozen=True, slots=True)
class Build:
    """What ``exim -bV`` tells. tls: "GnuTLS", "OpenSSL" or "". config: the file that it reads."""

    version: str
    tls: str
    lookups: frozenset[str]
    config: Path | None


class Exim:
    """The exim program of this machine, with one configuration.

    binary: None looks for exim4 and exim where they usually lie. config: None is Exim's own choice (and
    the only one with which its daemon keeps its privilege, see -C). Raises EximError if there is no exim.
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

        Exim reads its whole configuration for this: a broken one is a complaint.
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
        """Return settings of the main section as Exim prints them; booleans as "true" and "false".

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

        Raises EximError, also where the caller may not ask (as anybody but root, of a file that is not readable).
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
        """Return what ``text`` expands to (``-be``), asked as ``user`` if one is named. Raises EximError.

        Exim gives its privilege up for this, so what the user cannot read, the expansion cannot.
        """
        answer = self._ask("-be", text, user=user).removesuffix("\n")
        if answer.startswith("Failed: "):
            words = answer.removeprefix("Failed: ")
            raise EximError(f"{self.binary} cannot expand {text[:200]}: {words[:500]}", words=words)
        return answer

    def _ask(self, *arguments: str, user: str | None = None) -> str:
        chosen = ["-C", str(self.config)] if self.config else []
        command = [str(self.binary), *chosen, *arguments]
        shown = " ".join(command)[:200]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_ENVIRONMENT,
                cwd="/",
                user=user,
                group=None if user is None else _group(user),
                extra_groups=None if user is None else os.getgrouplist(user, _group(user)),
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EximError(
                f"{self.binary} cannot be run: {getattr(error, 'strerror', None) or error}",
                hint="name Exim's program as [exim] binary in the configuration",
            ) from error
        with process:
            try:
                said, complained = _read(process, time.monotonic() + self._time_limit)
            except TimeoutError:
                raise EximError(
                    f"{shown} did not end within {self._time_limit:g} s",
                    hint="run it by hand to see what it waits for",
                ) from None
            except OverflowError:
                raise EximError(f"{shown} printed more than {LARGEST_ANSWER >> 20} MiB: that is no exim") from None
            finally:
                _kill(process)
        words = (complained + "\n" + said).strip() if complained else said.strip()
        if process.returncode != 0:
            last = (complained.strip() or words)[-500:] or f"nothing (status {process.returncode})"
            raise EximError(f"{shown} failed; it said: {last}", words=words)
        return said

    def _nonsense(self, question: str, answer: str) -> EximError:
        printed = f"{answer[:100]!r}" if answer else "nothing"
        return EximError(
            f"{self.binary} {question} printed {printed}, which is no answer of Exim's",
            hint="name Exim's program as [exim] binary in the configuration",
            words=answer[:500],
        )


def find() -> Path:
    """Return where the exim program lies. Raises EximError if it is in none of the usual places."""
    for path in (_PATH, os.environ.get("PATH", "")):
        for name in _NAMES:
            found = shutil.which(name, path=path)
            if found:
                return Path(found)
    raise EximError(
        f"there is no program {' or '.join(_NAMES)} on this machine",
        hint="install Exim (on Debian: apt install exim4), or name it as [exim] binary in the configuration",
    )


def _group(user: str) -> int:
    import pwd  # noqa: PLC0415 - only where another user asks

    return pwd.getpwnam(user).pw_gid


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[str, str]:
    """Read both outputs to their ends. Raises TimeoutError and OverflowError."""
    assert process.stdout is not None  # noqa: S101 - both are pipes, see _ask
    assert process.stderr is not None  # noqa: S101 - the same
    streams: tuple[IO[bytes], IO[bytes]] = (process.stdout, process.stderr)
    kept = {stream.fileno(): bytearray() for stream in streams}
    with selectors.DefaultSelector() as selector:
        for number in kept:
            selector.register(number, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(max(left, 0))
            if not ready and left <= 0:
                raise TimeoutError
            for key, _ in ready:
                portion = os.read(key.fd, 1 << 16)
                kept[key.fd] += portion
                if not portion:
                    selector.unregister(key.fd)
                elif sum(map(len, kept.values())) > LARGEST_ANSWER:
                    raise OverflowError
    try:
        process.wait(max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    said, complained = (bytes(kept[stream.fileno()]).decode("utf-8", "backslashreplace") for stream in streams)
    return said, complained


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:  # not reaped yet, so its number and its group's are nobody else's
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
