"""Publishing: making Exim honour the allowlist that follows from the decisions.

One publication runs at a time; calls during one share the next. A publication that failed is tried again: at the next
decision, when a file of Exim's configuration changes, and on a timer that backs off (a validation that Exim refuses may
leave a line in its panic log).

A publication is due until the ledger has a confirmation for the present file (digest, inode, change time).
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.errors import EximcertdError
from eximcertd.events import Event
from eximcertd.ledger.publications import Confirmed
from eximcertd.publication import attempt as attempts
from eximcertd.publication.allowed_directory import AllowedDirectory, DirectoryError
from eximcertd.publication.attempt import LIVE, Attempt, Wanted
from eximcertd.publication.directory_sync import DirectorySync
from eximcertd.publication.form import AUTO, DIRECTORY, LIST, choose
from eximcertd.publication.manual_edits import ManualEdits
from eximcertd.publication.retry import Retry, in_portions
from eximcertd.publication.state import PublicationState
from eximcertd.publish.request import CHANGED, FAILED, Request
from eximcertd.reload.request import DIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eximcertd.decisions.decide import Decider
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.publication.attempt import Asks
    from eximcertd.publish.request import Found
    from eximcertd.settings import AllowlistSettings

_ROUNDS: Final = 5  # a manual edit, a macro that rewrites fingerprints, a limit on the interval: each costs one
_LONGEST_PAUSE: Final = 5.0
_NO_SPACE: Final = os.strerror(errno.ENOSPC)


class Publisher:
    """Publishes, under its lock; lives in the loop's thread. watched: files whose change may correct a refusal."""

    def __init__(
        self,
        ledger: Ledger,
        directory: AllowedDirectory,
        programs: Asks,
        *,
        decider: Decider,
        allowlist: AllowlistSettings,
        recorder: Recorder,
        watched: Sequence[Path] = (),
    ) -> None:
        self._publications = ledger.publications
        self._authorities = ledger.authorities
        self._allowed = directory.path
        self._programs = programs
        self.allowlist = allowlist
        self._recorder = recorder
        self.state = PublicationState(form=ledger.publications.last_confirmed().form)
        self._sync = DirectorySync(ledger, directory, recorder)
        self._edits = ManualEdits(ledger, self._sync, decider, recorder)
        self._retry = Retry(watched)
        self._found: Found | None = None  # the macro file as it was last seen; None: it must be looked at
        self._file: Path | None = None
        self._decided: set[Fingerprint] = set()
        self._rewritten = False
        self._forced = False
        self.lock = asyncio.Lock()
        self._asked = self._served = 0

    # For other parts

    @property
    def live(self) -> bool:
        """Tell whether Exim honours exactly what was decided, as far as it was seen to have loaded it."""
        if self._found is None or attempts.identity(self._found) != self._publications.last_confirmed().identity:
            return False
        return not self._publications.due()

    @property
    def unknown_files(self) -> int:
        """Return how many files of fingerprints that nobody approved wait in the directory for a person."""
        return self._sync.unknown

    @property
    def retrying(self) -> bool:
        """Tell whether a publication waits to be tried again."""
        return self._retry.waiting

    async def start(self) -> None:
        """Read the macro file, adopt manual additions, and publish if a publication is due."""
        async with self.lock:
            self._edits.note_age()
            looked = await self._look()
            if self._found is None:
                self._failed(looked)
                return
        await self.settle()

    async def settle(self, decided: Iterable[Fingerprint] = ()) -> PublicationState:
        """Publish what was decided up to now; return how that ended.

        decided: fingerprints whose files in the directory are put right even if nothing of theirs is due.
        """
        self._decided.update(decided)
        self._asked += 1
        ticket = self._asked
        async with self.lock:
            if self._served < ticket:
                self._served = self._asked
                await self._publish_if_due()
            return self.state

    async def republish(self) -> None:
        """Publish even if nothing seems due: after a change of the configuration."""
        self._forced = True
        await self.settle()

    async def look(self) -> None:
        """If the macro file is not the one last seen, find out what was done to it."""
        if attempts.replaced(self._file, self._found):
            await self.verify()

    async def verify(self) -> None:
        """Read the macro file, adopt or report manual edits, and check that Exim accepts its configuration."""
        async with self.lock:
            looked = await self._look()
            due = not self.live
            if self._found is not None and not due and self.state.ok:
                wanted = self._wanted(self._found.form)
                answer = await self._programs.reload(Request(f"check {wanted.value_digest()}"))
                looked = attempts.of_reload(answer, self._found)
            if not looked.live and self.state.ok:
                self._failed(looked)
        if due and self._found is not None:
            await self.settle()

    async def reconcile(self) -> None:
        """Make the directory hold the allowlist and nothing else.

        A new ledger does nothing before it has read the macro file: it would know none of the files.
        """
        async with self.lock:
            if self._found is not None or self._publications.last_confirmed().form:
                await self._sync.reconcile()

    async def stop(self) -> None:
        """Cancel the retry, and let a publication that runs come to its end."""
        self._retry.cancel()
        async with self.lock:
            pass

    # One publication

    async def _publish_if_due(self) -> None:
        try:
            if self._forced or self._decided or not (self.live and self.state.ok):
                await self._publish()
        except EximcertdError as error:  # the ledger's disk is full: the decision is kept, and this is tried again
            self._failed(Attempt(FAILED, "ledger", str(error)))

    async def _publish(self) -> None:
        self._retry.cancel()
        tried = Attempt(FAILED, "publish", "the macro file was changed again and again while it was published")
        for _ in range(_ROUNDS):
            if self._found is None:
                tried = await self._look()
                if self._found is None:
                    break
            form = self._form()
            await in_portions(self._publications.mark)
            number = self._publications.begin(form, _now())
            tried = await self._attempt(form, self._found)
            if tried.live:
                await in_portions(self._publications.mark_live)
                self._confirmed(number, form, tried)
                return
            self._publications.fail(number, tried.outcome, tried.message, _now())
            self._see(tried)
            if tried.outcome == CHANGED and tried.found is not None:
                await self._edits.take(tried.found)
                continue
            if tried.rewritten_by and self.allowlist.form == AUTO and not self._rewritten:
                self._rewritten = True
                what = f"A macro of Exim's configuration, {tried.rewritten_by}, rewrites fingerprints"
                self._recorder.record(Event.PUBLICATION_FAILED, f"{what}: the directory form is used instead")
                continue
            if tried.retry_after is not None and tried.retry_after <= _LONGEST_PAUSE:
                await asyncio.sleep(tried.retry_after)
                continue
            break
        self._failed(tried)

    def _form(self) -> str:
        publications, settings = self._publications, self.allowlist
        now = publications.last_confirmed().form
        if now == DIRECTORY and publications.older_until():
            return DIRECTORY  # the list would leave out what is still to be settled there
        length = publications.count_wanted(settings.list_limit + 1)
        authorities = settings.form == AUTO and bool(self._authorities.approved())
        return choose(
            settings.form, settings.list_limit, length, now, rewritten=self._rewritten, authorities=authorities
        )

    def _wanted(self, form: str) -> Wanted:
        listed = tuple(self._publications.publishing()) if form == LIST else ()
        return Wanted(form, listed, self._allowed)

    async def _attempt(self, form: str, found: Found) -> Attempt:
        confirmed = self._publications.last_confirmed()
        try:
            if form == DIRECTORY and confirmed.form != DIRECTORY:
                await self._sync.reconcile()
                if self._sync.unknown and not self._publications.older_until():
                    what = "unknown fingerprints in the directory: approve or revoke them"
                    return Attempt(FAILED, "directory", f"{self._allowed}: {self._sync.unknown} {what}", found=found)
            else:
                await self._sync.follow(self._decided)
        except DirectoryError as error:
            if form == DIRECTORY:
                return Attempt(FAILED, "directory", str(error), found=found)
            # the list form does not need it; its reconciliation reports it again
            self._recorder.record(Event.PUBLICATION_FAILED, str(error))
        stands = form == DIRECTORY == confirmed.form and attempts.identity(found) == confirmed.identity
        if stands and self.state.ok and not self._forced and not attempts.replaced(self._file, found):
            # looked up at the next RCPT: there is nothing to load
            return Attempt(LIVE, found=found, daemons=self.state.daemons)
        wanted = self._wanted(form)
        self._publications.note_write(wanted.file_digest(self.allowlist.macro, found.comments))
        return await attempts.publish(self._programs, wanted, found, confirmed.identity)

    def _confirmed(self, number: int, form: str, tried: Attempt) -> None:
        self._see(tried)
        self._forced = False
        self._decided.clear()
        self._retry.reset()
        before = self._publications.last_confirmed()
        identity = attempts.identity(self._found) if self._found else ("", 0, 0)
        now = _now()
        loaded_at = before.loaded_at if identity == before.identity else now
        times = [int(daemon.loaded_at * 1000) for daemon in tried.daemons if daemon.loaded_at is not None]
        confirmed = Confirmed(form, *identity, now, max(times, default=loaded_at))
        self._publications.confirm(number, confirmed, tried.outcome)
        at = (confirmed.loaded_at or now) / 1000
        self.state = PublicationState(form, tried.outcome, "", tried.message, "", tried.daemons, at)
        text = f"The allowlist is published in the {form} form"
        self._recorder.record(Event.PUBLISHED, text, FORM=form, REVISION=str(number), OUTCOME=tried.outcome)

    def _failed(self, tried: Attempt) -> None:
        self._see(tried)
        event, text = Event.PUBLICATION_FAILED, f"Not published: {tried.message}"
        if tried.step == "ledger":
            event = Event.LEDGER_PROBLEM
        elif _NO_SPACE in tried.message:
            event = Event.DISK_FULL
        if tried.outcome == DIED:
            event, text = Event.EXIM_IS_DOWN, tried.message
        self._recorder.record(event, text, STEP=tried.step, EXIM=tried.exim)
        self.state = PublicationState(
            self.state.form,
            tried.outcome,
            tried.step,
            tried.message,
            tried.exim,
            tried.daemons,
            retry_at=self._retry.schedule(self.settle),
        )

    # The macro file

    async def _look(self) -> Attempt:
        """Read the macro file and take manual edits; return what came of it."""
        answer = await self._programs.publish(Request("read"))
        looked = attempts.of_publish(answer)
        self._see(looked)
        if answer.found is None:
            return looked
        await self._edits.take(answer.found)
        return looked._replace(outcome=LIVE)

    def _see(self, tried: Attempt) -> None:
        """Keep what an answer tells of the macro file. Where it tells nothing, the file is looked at again."""
        self._found = tried.found
        if tried.file:
            self._file = Path(tried.file)


def _now() -> int:
    return time.time_ns() // 1_000_000
