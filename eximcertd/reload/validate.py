"""Asking Exim whether it accepts its whole configuration, and what it makes of the macro.

One run: ``exim -bV -bP configure_file OPTIONS macros`` reads all of the configuration, includes, ACLs and drivers, and
prints what is asked (Exim specification, chapter "The Exim command line"). With -bV it writes nothing into its logs,
so a rejected configuration leaves no line in the panic log (seen on 4.96 and 4.98).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.exim.daemons import OPTIONS, EximFacts, facts_of
from eximcertd.exim.run import quoted, run
from eximcertd.exim.settings import find
from eximcertd.fingerprint import is_exact
from eximcertd.reload.request import FAILED, INVALID, LONGEST_DEFINITION, SKIPPED, ReloadError

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.exim.run import CommandResult
    from eximcertd.settings import Config

LIMIT: Final = 30.0
"""Seconds that Exim may take to read its configuration."""

_LARGEST_MACRO_FILE: Final = 128 << 20
_CONFIGURATION: Final = re.compile(rf"^(/.*)\n{OPTIONS[0]} =", re.MULTILINE)
_OPTION: Final = re.compile(r"^([a-z_]+) = (.*)$", re.MULTILINE)
_MACRO: Final = re.compile(r"^([A-Z_][A-Za-z0-9_]*)=(.*)$", re.MULTILINE)
_UNOPENED: Final = re.compile(r"failed to open (?:included )?configuration file ([^\s:]+)")


class Validated(NamedTuple):
    """A configuration that Exim accepts. value: our macro's. seconds: that Exim took to read it."""

    facts: EximFacts
    value: str
    seconds: float


def candidate(config: Config, value: str) -> Validated:
    """Validate the configuration with another value of the macro. Raises ReloadError and EximError.

    The value takes the place of the file's: -D wins over a definition. The outcome is "skipped" where it is too long
    for that, or what is wrong is the macro file itself, which the next write replaces.
    """
    definition = f"-D{config.allowlist.macro}={value}"
    if len(definition) > LONGEST_DEFINITION:
        raise ReloadError(SKIPPED, "the list is longer than Exim takes on its command line")
    result = _ask(config, definition)
    if result.status != 0 and _blames(config.macro_file, result):
        raise ReloadError(SKIPPED, f"{config.macro_file} is missing or broken until it is written")
    validated, macros = _read(config, result)
    rewriting = _rewriting(config.allowlist.macro, value, macros)
    if rewriting:
        raise _rewritten(rewriting)
    return validated


def live(config: Config, digest: str) -> Validated:
    """Validate the present configuration, with a macro of this SHA-256. Raises ReloadError and EximError."""
    import hashlib  # noqa: PLC0415 - not for a candidate

    validated, macros = _read(config, _ask(config))
    name, file = config.allowlist.macro, config.macro_file
    changed = hashlib.sha256(validated.value.encode()).hexdigest() != digest
    # what was defined before the macro has changed its value, what was defined later changes its uses
    rewriting = _rewriting(name, _definition(file) if changed else validated.value, macros)
    if rewriting:
        raise _rewritten(rewriting)
    if changed:
        raise ReloadError(
            INVALID,
            f"Exim has another value for the macro {name} than was published in {file}: let its configuration include "
            "this file and define the macro nowhere else",
            exim=quoted(validated.value, 300),
        )
    return validated


def lookups(config: Config, facts: EximFacts) -> None:
    """Raise ReloadError unless Exim finds a fingerprint that is in the directory, and misses one that is not.

    To be called as Exim's user, who does the lookup in a session too.
    """
    allowed = config.allowed
    try:
        with os.scandir(allowed) as entries:
            inside = next(
                (one.name for one in entries if is_exact(one.name) and one.is_file(follow_symlinks=False)), None
            )
    except OSError as error:
        raise _no_lookup(allowed, f"{error.strerror}") from None
    outside = os.urandom(32).hex().upper()
    wanted = [(name, found) for name, found in ((inside, "in"), (outside, "out")) if name]
    lookup = "${{lookup{{{}}}dsearch,filter=file,cache=no_rd{{{}}}{{in}}{{out}}}}"
    # Without a configuration: it may be closed to Exim's user, and no macro of it is to change a name. With -bV Exim
    # does not open its logs.
    asked = [lookup.format(name, allowed) for name, _ in wanted]
    result = run([facts.program, "-C", os.devnull, "-bV", "-be", *asked], LIMIT)
    printed = result.out.splitlines()[-len(wanted) :]
    if result.status != 0 or printed != [found for _, found in wanted]:
        raise _no_lookup(allowed, quoted(" / ".join(printed)))


def _no_lookup(allowed: Path, words: str) -> ReloadError:
    return ReloadError(
        INVALID,
        f"Exim's user cannot look fingerprints up in {allowed}, so every verified client would get a temporary error: "
        "give the directory mode 0755, and the directories above it 0711 or more",
        step="directory",
        exim=words,
    )


def _chosen(config: Config) -> list[str]:
    return ["-C", str(config.exim.config)] if config.exim.config else []


def _ask(config: Config, *more: str) -> CommandResult:
    program = str(config.exim.binary or find())
    return run([program, *_chosen(config), *more, "-bV", "-bP", "configure_file", *OPTIONS, "macros"], LIMIT)


def _read(config: Config, result: CommandResult) -> tuple[Validated, dict[str, str]]:
    """Return what Exim says of itself, and all macros. Raises ReloadError."""
    if result.status != 0:
        raise _rejected(result)
    program, name = str(config.exim.binary or find()), config.allowlist.macro
    file = _CONFIGURATION.search(result.out)
    options = dict(_OPTION.findall(result.out, file.end(1))) if file else {}
    if file is None or "exim_user" not in options:
        raise ReloadError(
            FAILED, f"{program} does not print its settings: set [exim] binary to the path of Exim", exim=result.words()
        )
    macros = dict(_MACRO.findall(result.out, file.end(1)))
    if name not in macros:
        raise ReloadError(
            INVALID, f"Exim does not know the macro {name}: let its configuration .include {config.macro_file}"
        )
    facts = facts_of(program, file[1], options, default=config.exim.config is None)
    return Validated(facts, macros[name].strip(), result.seconds), macros


def _rejected(result: CommandResult) -> ReloadError:
    found = _UNOPENED.search(result.err)
    file = quoted(found[1], 200) if found else ""
    if file and ("Permission denied" in result.err or (os.path.lexists(file) and not os.access(file, os.R_OK))):
        return ReloadError(
            INVALID,
            f"Exim's user cannot read {file}: give it Exim's group and mode 0640 (on Debian: chgrp Debian-exim {file}; "
            f"chmod 640 {file}), or start eximcertd-reload as root as eximcertd-reload(8) shows",
            exim=result.words(),
        )
    what = f"Exim rejects its configuration (status {result.status}): correct it; no daemon was signalled"
    return ReloadError(INVALID, what, exim=result.words())


def _blames(file: Path, result: CommandResult) -> bool:
    """Tell whether the macro file is what Exim rejects: it is missing, broken, or swallows the line after it."""
    return str(file) in result.err or _text(file).rstrip().endswith("\\")


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_LARGEST_MACRO_FILE).decode("latin-1")
    except OSError:
        return ""


def _definition(file: Path) -> str:
    """Return the lines of the macro file that define the macro, without its name."""
    lines = "\n".join(line for line in _text(file).splitlines() if not line.lstrip().startswith("#"))
    return lines.partition("=")[2]


def _rewriting(name: str, text: str, macros: dict[str, str]) -> str | None:
    """Return a macro that changes ``text``. Exim puts a macro's value for its name, anywhere in a line."""
    characters = set(text)  # with 100,000 fingerprints a search takes 10 ms for each of Exim's own macros
    return next(
        (
            other
            for other, value in macros.items()
            if other not in (name, value) and characters.issuperset(other) and other in text
        ),
        None,
    )


def _rewritten(macro: str) -> ReloadError:
    return ReloadError(
        INVALID,
        f"the macro {macro} of Exim's configuration changes every fingerprint or path that contains its name: rename "
        "it, or use the directory form",
        rewritten_by=macro,
    )
