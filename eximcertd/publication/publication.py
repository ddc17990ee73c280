"""Publishing: making Exim honour the allowlist that follows from the decisions.

One publication at a time; whoever asks while one runs shares the next. What is decided and could not be
published waits, with the reason, and is tried again: at the next decision, when Exim's configuration
changes, and on a timer that backs off (a judgement that Exim refuses leaves a line in its panic log).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.errors import EximcertdError
from eximcertd.events import Event
from eximcertd.ledger.publications import Confirmed
from eximcertd.publication.allowed_directory import AllowedDirectory, DirectoryError
from eximcertd.publication.form import AUTO, DIRECTORY, LIST, choose
from eximcertd.publication.reconciliation import Files, ManualEdits
from eximcertd.publish import old_request as wire
from eximcertd.publish.old_request import Answer, Request

if TYPE_CHECKING:
    from eximcertd.decisions.decide import Decider
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.settings import AllowlistSettings as Allowlist

Ask = Callable[[Request], Awaitable[Answer]]

_ROUNDS: Final = 5  # a hand edit, a rewriting macro, a limit on reloads: each costs one
_FIRST_RETRY: Final = 30.0
_LAST_RETRY: Final = 3600.0
_LOOK_EVERY: Final = 5.0  # at the configuration's files, and only while something waits
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class State:
    """How the last publication ended. Times in seconds since the epoch.

    outcome: as in publish/request.py, "waiting" before the first. retry_at: when it will be tried again.
    """

    form: str = ""
    outcome: str = "waiting"
    step: str = ""
    message: str = ""
    exim: str = ""
    exim_pid: int | None = None
    loaded_at: float | None = None
    retry_at: float | None = None

    @property
    def ok(self) -> bool:
        """Tell whether it ended well."""
        return self.outcome in {wire.LIVE, wire.NOT_RUNNING}


class Publication:
    """The one who publishes; lives in the loop's thread.

    ask: the publisher. watched: files and directories whose change may mend a refused configuration.
    """

    def __init__(
        self,
        ledger: Ledger,
        directory: AllowedDirectory,
        ask: Ask,
        *,
        decider: Decider,
        allowlist: Allowlist,
        recorder: Recorder,
        watched: Sequence[Path] = (),
    ) -> None:
        self._ledger = ledger
        self._directory = directory
        self._ask = ask
        self.allowlist = allowlist
        self._recorder = recorder
        self._watched = tuple(watched)
        self.state = State(form=ledger.publications.last_confirmed().form)
        self._files = Files(ledger, directory, recorder)
        self._manual_edits = ManualEdits(ledger, self._files, decider, recorder)
        self._digest: str | None = None
        self._decided: set[Fingerprint] = set()
        self._rewritten = False
        self._loaded = False
        self._lock = asyncio.Lock()
        self._asked = self._served = 0
        self._retry: asyncio.Task[None] | None = None
        self._pause = _FIRST_RETRY
        self._file: Path | None = None
        self._seen: tuple[int, ...] | None = None

    # What others ask

    @property
    def live(self) -> bool:
        """Tell whether Exim honours exactly what was decided, as far as was confirmed."""
        return self._loaded and not self._ledger.publications.due()

    async def start(self) -> None:
        """Look at what stands, adopt what a person put there, and publish whatever is due."""
        async with self._lock:
            answer = await self._ask(Request(None))
            if not await self._take(answer):
                self._failed(answer)
                return
        await self.settle()

    @property
    def strangers(self) -> int:
        """Return how many files of nobody's were left in the directory for a person to look at."""
        return self._files.strangers

    @property
    def retrying(self) -> bool:
        """Tell whether a failure waits to be tried again."""
        return self._retry is not None

    async def settle(self, decided: Iterable[Fingerprint] = ()) -> State:
        """Publish what was decided up to now; return how that ended. The retry of a failure is seen to.

        decided: whose files in the directory are put right even if nothing of theirs is due.
        """
        self._decided.update(decided)
        self._asked += 1
        ticket = self._asked
        async with self._lock:
            if self._served < ticket:
                self._served = self._asked
                await self._publish_if_due()
            return self.state

    async def republish(self) -> None:
        """Publish even if nothing seems due: after a change of the configuration."""
        self._loaded = False
        await self.settle()

    async def look(self) -> None:
        """If somebody touched the macro file since it was last published, see what was done to it."""
        if self._file is not None and _signature([self._file]) != self._seen:
            await self.verify()

    async def verify(self) -> None:
        """Have the publisher check what stands; adopt or report what a person did, publish if that is needed."""
        async with self._lock:
            answer = await self._ask(Request(None))
            due = await self._take(answer) and not self.live
            if answer.outcome != wire.VERIFIED and self.state.ok:
                self._failed(answer)
        if due:
            await self.settle()

    async def reconcile(self) -> None:
        """Make the directory hold the allowlist and nothing else. Never removes more than a few files.

        Nothing is done by a new ledger that has not yet seen what stands: everybody would be nobody's.
        """
        async with self._lock:
            if self._digest is not None or self._ledger.publications.last_confirmed().form:
                await self._files.reconcile()

    async def stop(self) -> None:
        """End the waiting for a retry, and let a publication that runs come to its end."""
        self._cancel_retry()
        async with self._lock:
            pass

    # One publication

    async def _publish_if_due(self) -> None:
        try:
            if self._decided or not (self.live and self.state.ok):
                await self._publish()
        except EximcertdError as error:  # the ledger's disk is full: the decision is kept, and this is tried again
            self._failed(Answer(wire.FAILED, "ledger", str(error)))

    async def _publish(self) -> None:
        self._cancel_retry()
        answer = Answer(wire.FAILED, "publish", "the macro file was changed again and again while it was published")
        for _ in range(_ROUNDS):
            if self._digest is None:
                answer = await self._ask(Request(None))
                if not await self._take(answer):
                    break
            form = self._form()
            publications = self._ledger.publications
            number = publications.begin(form, _now())
            answer = await self._round(form)
            if answer.outcome in {wire.LIVE, wire.NOT_RUNNING}:
                self._confirmed(number, form, answer)
                return
            publications.fail(number, answer.outcome, answer.message, _now())
            if answer.outcome == wire.CHANGED and await self._take(answer):
                continue
            if answer.rewritten_by and self.allowlist.form == AUTO and not self._rewritten:
                self._rewritten = True
                self._recorder.record(
                    Event.PUBLICATION_FAILED,
                    f"Exim's configuration has an earlier macro {answer.rewritten_by} that rewrites fingerprints;"
                    " the directory form is taken instead",
                )
                continue
            if answer.retry_after is not None and answer.retry_after <= _LONGEST_PAUSE:
                await asyncio.sleep(answer.retry_after)
                continue
            break
        self._failed(answer)

    def _form(self) -> str:
        publications = self._ledger.publications
        length = publications.count_wanted(self.allowlist.list_limit + 1)
        now = publications.last_confirmed().form
        return choose(self.allowlist.form, self.allowlist.list_limit, length, now, rewritten=self._rewritten)

    async def _round(self, form: str) -> Answer:
        publications = self._ledger.publications
        confirmed = publications.last_confirmed()
        try:
            if form == DIRECTORY and confirmed.form != DIRECTORY:
                await self._files.reconcile()
                if self._files.strangers:
                    what = "so many files of nobody approved that a person must look at them first"
                    return Answer(wire.FAILED, "directory", f"{self._directory.path} holds {what}")
            else:
                await self._files.follow(self._decided)
        except DirectoryError as error:
            if form == DIRECTORY:
                return Answer(wire.FAILED, "directory", str(error))
            # the list form does not need it; its reconciliation says so again
            self._recorder.record(Event.PUBLICATION_FAILED, str(error))
        if form == DIRECTORY and confirmed.form == DIRECTORY and self._stands(confirmed.digest):
            # honoured for the next RCPT: there is nothing to load
            return replace(_LOOKED_UP, exim_pid=self.state.exim_pid, loaded_at=time.time())
        wanted = tuple(publications.publishing()) if form == LIST else ()
        return await self._ask(Request(form, wanted, self._digest))

    def _stands(self, digest: str) -> bool:
        """Tell whether the macro file is still the one that Exim was seen to have loaded."""
        untouched = self._file is not None and _signature([self._file]) == self._seen
        return untouched and self._loaded and self.state.ok and digest == self._digest

    def _confirmed(self, number: int, form: str, answer: Answer) -> None:
        if answer.found is not None:
            self._digest = answer.found.digest
        self._loaded = True
        self._decided.clear()
        self._remember(answer)
        self._ledger.publications.confirm(number, Confirmed(form, self._digest or "", _now()), answer.outcome)
        self._pause = _FIRST_RETRY
        self.state = State(
            form, answer.outcome, "", answer.message, "", answer.exim_pid, answer.loaded_at or time.time()
        )
        self._recorder.record(
            Event.PUBLISHED,
            f"The allowlist is published in the {form} form",
            FORM=form,
            REVISION=str(number),
            OUTCOME=answer.outcome,
        )

    def _failed(self, answer: Answer) -> None:
        if answer.outcome in {wire.UNKNOWN, wire.DIED}:
            self._digest = None  # what stands must be looked at before the next try
            self._loaded = False
        if answer.found is not None and answer.outcome != wire.CHANGED:
            self._digest = answer.found.digest
        self._remember(answer)
        retry_at = time.time() + self._pause
        self.state = State(
            self.state.form, answer.outcome, answer.step, answer.message, answer.exim, answer.exim_pid, None, retry_at
        )
        down = answer.outcome == wire.DIED and not answer.restarted
        self._recorder.record(
            Event.EXIM_IS_DOWN
            if down
            else Event.LEDGER_PROBLEM
            if answer.step == "ledger"
            else Event.PUBLICATION_FAILED,
            answer.message if down else f"Not published: {answer.message}",
            STEP=answer.step,
            EXIM=answer.exim,
        )
        self._cancel_retry()
        self._retry = asyncio.get_running_loop().create_task(self._again(self._pause))
        self._pause = min(self._pause * 2, _LAST_RETRY)

    async def _take(self, answer: Answer) -> bool:
        """See what stands, and what a person did to it; return whether it could be looked at."""
        found = answer.found
        self._remember(answer)
        if found is None:
            return False
        confirmed = self._ledger.publications.last_confirmed()
        await self._manual_edits.take(found)
        self._digest = found.digest
        if found.due or found.corrected or found.digest != confirmed.digest or found.form != confirmed.form:
            self._loaded = False  # Exim may have loaded what stands, or not: nobody has seen it
        return True

    # Trying again

    async def _again(self, pause: float) -> None:
        """Wait until Exim's configuration changes, or the pause is over; then publish."""
        end = asyncio.get_running_loop().time() + pause
        before = _signature(self._watched)
        while (left := end - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, _LOOK_EVERY))
            if _signature(self._watched) != before:
                self._pause = _FIRST_RETRY
                break
        self._retry = None
        await self.settle()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _remember(self, answer: Answer) -> None:
        if answer.file:
            self._file = Path(answer.file)
            self._seen = _signature([self._file])


_LOOKED_UP: Final = Answer(wire.LIVE)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _signature(paths: Iterable[Path]) -> tuple[int, ...]:
    found: list[int] = []
    for path in paths:
        with contextlib.suppress(OSError):
            at = path.stat()
            found += (at.st_ino, at.st_size, at.st_mtime_ns)
    return tuple(found)
