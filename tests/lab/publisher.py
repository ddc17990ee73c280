"""The publisher's twin in memory: one macro file, one Exim that loads it, and what can go wrong with both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from eximcertd.publish import old_request as wire
from eximcertd.publish.old_request import Answer, Found, Request

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from eximcertd.fingerprint import Fingerprint


@dataclass
class Publisher:
    """A file and an Exim. path: stands for the macro file, so that a hand in it can be seen.

    form, fingerprints: what stands in the file. loaded: what Exim honours. answers: given instead, once each.
    broken: Exim's words about a configuration that somebody else broke; while it is set nothing is published.
    """

    path: Path
    form: str = "absent"
    fingerprints: tuple[Fingerprint, ...] = ()
    loaded: AbstractSet[str] | None = None
    loaded_form: str = ""
    broken: str = ""
    down: bool = False
    answers: list[Answer] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The digest of the file."""
        if self.form == "absent":
            return wire.ABSENT
        return hashlib.sha256(repr((self.form, self.fingerprints)).encode()).hexdigest()

    def edit(self, *fingerprints: Fingerprint) -> None:
        """Write a list into the file by hand."""
        self.form, self.fingerprints = "list", fingerprints
        self._write()

    def found(self) -> Found:
        """Return the file as an answer tells it."""
        due = self.loaded is None or (self.form, frozenset(self.fingerprints)) != (self.loaded_form, self.loaded)
        return Found(self.form, self.fingerprints, self.digest, (), due)

    def _write(self) -> None:
        fresh = self.path.with_name("candidate")
        fresh.write_text(self.digest)
        fresh.replace(self.path)

    async def ask(self, request: Request) -> Answer:
        """Answer as the real one does."""
        answer = self._answer(request)
        return answer if answer.outcome == wire.UNREACHABLE else replace(answer, file=str(self.path))

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.down:
            return Answer(wire.UNREACHABLE, "ask", "the publisher's socket cannot be reached")
        if self.answers:
            return self.answers.pop(0)
        if request.form is not None and request.standing not in (None, self.digest):
            return Answer(wire.CHANGED, "", "changed by somebody else", found=self.found())
        if self.broken:
            return Answer(wire.FAILED, "judge", "Exim refuses its configuration", self.broken, found=self.found())
        if request.form is None:
            return Answer(wire.VERIFIED, found=self.found())
        self.form, self.fingerprints = request.form, request.fingerprints
        self._write()
        self.loaded, self.loaded_form = frozenset(self.fingerprints), self.form
        return Answer(wire.LIVE, found=self.found(), exim_pid=1, loaded_at=1.0)
