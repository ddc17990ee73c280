"""Twins in memory of the two programs: one macro file, one Exim that loads it, and what can go wrong with both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eximcertd.publication.ask import UNREACHABLE
from eximcertd.publication.attempt import value_digest
from eximcertd.publish import macrofile
from eximcertd.publish import request as wire
from eximcertd.publish.request import Answer, Found, Request
from eximcertd.reload.request import DIED, INVALID, LOADED, VALID, DaemonState, ReloadAnswer

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from eximcertd.fingerprint import Fingerprint


@dataclass
class TwinPrograms:
    """A file and an Exim. path: stands for the macro file, so that an edit of it can be seen.

    form, fingerprints: what the file holds; corrected: those in a spelling that Exim does not match. loaded: what Exim
    honours. broken: Exim's words about a configuration that somebody else broke. dies: whether Exim ends on a reload.
    down: neither program can be reached. rewriting: a macro that changes fingerprints. asked: what was asked for.
    """

    path: Path
    form: str = "absent"
    fingerprints: tuple[Fingerprint, ...] = ()
    corrected: tuple[Fingerprint, ...] = ()
    loaded: AbstractSet[str] | None = None
    loaded_form: str = ""
    broken: str = ""
    dies: bool = False
    down: bool = False
    rewriting: str = ""
    asked: list[str] = field(default_factory=list)
    by_hand: bool = False
    previous: tuple[str, tuple[Fingerprint, ...]] = ("absent", ())

    @property
    def digest(self) -> str:
        """The digest of the file."""
        if self.form == "absent":
            return wire.ABSENT
        listed = self.form == "list"
        value = macrofile.list_value(self.fingerprints) if listed else macrofile.lookup_value(self.path / "allowed")
        written = macrofile.render("RELAY_FROM_CERTS", value, ())
        return hashlib.sha256(
            written + b"# by hand" * self.by_hand + b"# lower case" * bool(self.corrected)
        ).hexdigest()

    def edit(self, *fingerprints: Fingerprint) -> None:
        """Write a list into the file by hand."""
        self.form, self.fingerprints, self.corrected, self.by_hand = "list", fingerprints, (), True
        self._write()

    def found(self) -> Found:
        """Return the file as an answer tells it."""
        status = self.path.stat() if self.path.exists() else None
        inode, ctime_ns = (status.st_ino, status.st_ctime_ns) if status else (0, 0)
        return Found(self.form, self.fingerprints, self.digest, inode, ctime_ns, (), self.corrected)

    def _write(self) -> None:
        fresh = self.path.with_name("candidate")
        fresh.write_text(self.digest)
        fresh.replace(self.path)

    async def publish(self, request: Request) -> Answer:
        """Answer as root's part does."""
        self.asked.append(request.action)
        if self.down:
            return Answer(UNREACHABLE, "ask", "the socket cannot be reached")
        if request.expected not in (None, self.digest):
            return Answer(wire.CHANGED, "", "changed by somebody else", self.found(), str(self.path))
        changed = False
        if request.action.startswith("write "):
            form = request.action.removeprefix("write ")
            changed = (form, request.fingerprints) != (self.form, self.fingerprints) or bool(self.corrected)
            self.by_hand = self.by_hand and not changed
            self.previous = (self.form, self.fingerprints) if changed else self.previous
            self.form, self.fingerprints, self.corrected = form, request.fingerprints, ()
        elif request.action == "restore":
            changed = True
            self.form, self.fingerprints = self.previous
        if changed:
            self._write()
        return Answer(wire.DONE, found=self.found(), file=str(self.path), changed=changed)

    async def reload(self, request: Request) -> ReloadAnswer:  # noqa: PLR0911 - a line for each thing that can go wrong
        """Answer as the reload part does."""
        verb, _, what = request.action.partition(" ")
        self.asked.append(verb)
        if self.down:
            return ReloadAnswer(UNREACHABLE, "ask", "the socket cannot be reached")
        if self.broken:
            return ReloadAnswer(INVALID, "validate", "Exim rejects its configuration", self.broken)
        if self.rewriting and "list" in (what, self.form if verb != "validate" else ""):
            return ReloadAnswer(INVALID, "validate", "a macro changes fingerprints", rewritten_by=self.rewriting)
        if verb == "validate":
            return ReloadAnswer(VALID)
        value = macrofile.list_value(self.fingerprints)
        if self.form == "list" and (self.corrected or value_digest(value) != what):
            return ReloadAnswer(INVALID, "validate", "Exim has another value for the macro")
        if verb == "check":
            return ReloadAnswer(VALID, daemons=(DaemonState(1, None),))
        if self.dies:
            return ReloadAnswer(DIED, "reload", "EXIM IS DOWN: its daemon ended on a reload.")
        self.loaded, self.loaded_form = frozenset(self.fingerprints), self.form
        return ReloadAnswer(LOADED, daemons=(DaemonState(1, 1.0),))
