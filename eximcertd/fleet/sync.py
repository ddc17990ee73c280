"""The loop of eximcertd-fleet: from the fleet to this relay acts, and back what this relay has seen, decided and runs.

Nothing is kept here. Which acts the relay has is asked of it each time, and compared by hash with those of the fleet:
the fleet's database may be an older one, restored from a backup or promoted. Then the relay is handed the acts after
the last one that both have, which is found by bisection, since a hash covers all acts before it.
"""

from __future__ import annotations

import random
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn

from eximcertd import __version__
from eximcertd.acts.act import ActError
from eximcertd.errors import EximcertdError, NoAnswerError
from eximcertd.fleet.remote import ActRefusedError, RemoteError, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eximcertd.acts.act import Act, Head
    from eximcertd.config import FleetSettings
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.fleet.local import LocalSide, News
    from eximcertd.fleet.remote import RelaySide

LONGEST_PAUSE: Final = 15.0
"""Seconds between two attempts to reach the fleet, at most; half of it up to one and a half by chance."""

_LOCAL_EVERY: Final = 5.0
_UNTIL_LIVE: Final = 0.2
"""Seconds between two looks at this relay, and the same for _PATIENCE after acts were taken, until they are live."""
_PATIENCE: Final = 10.0
_BETWEEN_HINTS: Final = 1.0
_ACTS: Final = 25
_MOST_FINGERPRINTS: Final = 10_000
_LARGEST_PORTION: Final = 900_000
"""What is handed over at once, the last in bytes of the acts' texts: a call of the control socket takes 1 MiB."""
_MOST_PORTIONS: Final = 200
_MOST_OFFERED: Final = 100_000
_FROM_FLEET: Final = (RemoteError, ActRefusedError)
"""The errors of a transport, the second for a role without the right. Others are this relay's."""


class Sync:
    """local: the relay. connect: makes a connection to the fleet. answered: is called after each answer of the fleet.

    say: is told when the state of the connection changes, in a sentence.
    """

    def __init__(
        self,
        local: LocalSide,
        connect: Callable[[], RelaySide],
        settings: FleetSettings,
        answered: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._local = local
        self._connect = connect
        self._poll = settings.poll.total_seconds()
        self._report_every = settings.report.total_seconds()
        self._answered = answered
        self._say = say
        self._last = Report(__version__, 0, 0, 0, 0)
        self._state = ("", "")
        self._since = 0
        self._problem = ""
        self._revision: str | None = None
        self._cursor: str | None = None
        self._offered: set[Fingerprint] = set()
        self._pause = 1.0

    def run(self) -> NoReturn:
        """Follow the fleet. What fails is tried again, after a pause that grows."""
        while True:
            try:
                with closing(self._connect()) as remote:
                    self._follow(remote)
            except _FROM_FLEET as error:
                self._answered()  # it has not hung: the fleet has refused, or a time limit has passed
                self._tell("away", error.line())
            except EximcertdError as error:
                self._state = ("", "")
                self._say(error.line())
            time.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311 - relays that must not come all at once
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _follow(self, remote: RelaySide) -> NoReturn:
        self._revision = None  # what is open is told again: the fleet may be another database
        reported: object = None
        report_at = look_at = looked = took = 0.0
        while True:
            news = self._news(remote)
            now = time.monotonic()
            failed: EximcertdError | None = None
            if now >= look_at:  # before anything is told: what the fleet does not take from here keeps no act back
                try:
                    taken = self._look(remote, news.head)
                except _FROM_FLEET as error:
                    failed, self._problem = error, error.line()
                else:
                    self._pause = 1.0
                    looked = time.monotonic()
                    look_at = looked + _BETWEEN_HINTS if taken >= _MOST_PORTIONS else now + self._poll
                    if taken:
                        took = looked
                        continue
            news = self._upload(remote, news)
            state = (news.head, news.live, news.open, self._problem or news.problem)
            if failed or state != reported or now >= report_at:
                numbers = (news.head.generation, news.live, news.open)
                self._report(remote, Report(__version__, *numbers, 0, self._problem or news.problem, news.dropped))
                if failed:
                    raise failed
                self._tell("in-step", self._problem)
                reported, report_at = state, now + self._report_every
            left = min(_LOCAL_EVERY, look_at - now, report_at - now)
            until_live = news.live < news.head.generation and now - took < _PATIENCE
            if remote.wait(max(0.0, min(left, _UNTIL_LIVE) if until_live else left)):
                time.sleep(max(0.0, looked + _BETWEEN_HINTS - time.monotonic()))
                look_at = 0.0

    def _news(self, remote: RelaySide) -> News:
        """Ask this relay; if it does not answer, the fleet is to know that it is this relay which is silent."""
        try:
            return self._local.news(self._revision, self._cursor)
        except EximcertdError as error:
            self._report(remote, replace(self._last, problem=error.line()))
            raise

    def _upload(self, remote: RelaySide, news: News) -> News:
        """Tell what is open on this relay if it has changed, and what it has seen since the last time."""
        for _ in range(_MOST_PORTIONS):
            if news.own is not None:
                remote.tell(news.own)
                self._answered()
            if news.sighted:
                fresh = [replace(one, der=None) if one.fingerprint in self._offered else one for one in news.sighted]
                remote.sight(fresh)
                self._answered()
                self._offered = self._offered if len(self._offered) < _MOST_OFFERED else set()
                self._offered.update(one.fingerprint for one in fresh if one.der is not None)
            self._revision, self._cursor = news.revision, news.cursor
            if not news.sighted:
                break
            news = self._news(remote)
        return news

    def _report(self, remote: RelaySide, report: Report) -> None:
        self._last = replace(report, clock=time.time_ns() // 1_000_000)
        remote.report(self._last)
        self._answered()

    def _look(self, remote: RelaySide, ours: Head) -> int:
        """Hand the relay the acts that it lacks; return in how many portions. Sets the problem."""
        self._problem = ""
        theirs = remote.head()
        self._answered()
        both = self._both_have(remote, theirs, ours)
        if both == ours.generation:
            return self._take(remote, both, back_to=None)
        if not remote.complete and both in {theirs.generation, 0}:
            what = "is not up to date" if both == theirs.generation else "has other acts from the first one on"
            self._problem = (
                f"the directory {what}: it ends with act {theirs.generation}, and this relay has act {ours.generation}"
            )
            return 0
        self._cursor = None  # what was seen is told again: the fleet may have lost that too
        self._offered.clear()
        return self._take(remote, both, back_to=both)

    def _both_have(self, remote: RelaySide, theirs: Head, ours: Head) -> int:
        """Return the last generation up to which the fleet and this relay have the same acts."""

        def same(generation: int) -> bool:
            if generation == 0:
                return True
            mine = ours.hash if generation == ours.generation else self._local.hashes([generation])[0]
            if generation == theirs.generation:
                return mine == theirs.hash
            try:
                acts = remote.acts(generation - 1, 1)
            except ActError as error:
                raise RemoteError(f"act {generation} is not the one that this relay has: {error.line()}") from None
            self._answered()
            if [act.generation for act in acts] != [generation]:
                raise RemoteError(f"the fleet has acts up to {theirs.generation}, but does not return act {generation}")
            return mine == acts[0].hash()

        high = min(theirs.generation, ours.generation)
        if same(high):
            return high
        low = 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if same(middle) else (low, middle)
        return low

    def _take(self, remote: RelaySide, after: int, back_to: int | None) -> int:
        taken = 0 if back_to is None else 1
        try:
            for _ in range(_MOST_PORTIONS):
                acts = _portion(remote.acts(after, _ACTS))
                self._answered()
                if not acts and back_to is None:
                    break
                answer = self._local.take(acts, back_to)
                back_to = None
                if (held := answer.held) is not None:
                    self._problem = f'act {held} waits for "eximcertctl fleet accept {held}" on this relay'
                if answer.generation <= after:
                    break
                after, taken = answer.generation, taken + 1
        except (NoAnswerError, *_FROM_FLEET):
            raise
        except EximcertdError as error:
            self._problem = f"this relay refuses what follows act {after}: {error.line()}"
        return taken

    def _tell(self, state: str, problem: str) -> None:
        """Tell this relay, and write to the journal, how the connection is."""
        if (state, problem) != self._state:
            self._state, self._since = (state, problem), time.time_ns() // 1_000_000
            self._say(f"{'in step with' if state == 'in-step' else 'away from'} the fleet{problem and f': {problem}'}")
        try:
            self._local.state(state, self._since, problem)
        except EximcertdError as error:
            self._say(error.line())


def _portion(acts: Sequence[Act]) -> Sequence[Act]:
    """Return as many of the acts as are handed over at once: at least one."""
    fingerprints = size = 0
    for index, act in enumerate(acts):
        fingerprints += len(act.fingerprints)
        size += len(act.text()) + len(act.signature)
        if index and (fingerprints > _MOST_FINGERPRINTS or size > _LARGEST_PORTION):
            return acts[:index]
    return acts
