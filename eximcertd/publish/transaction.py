"""One publication, step by step, so that a kill between any two leaves the old list or the new one live.

Beside the macro file FILE stand, all root's:
    FILE.lock         one publication at a time
    FILE.candidate    what is being judged
    FILE.previous     what stood before the last rename; put back if the new one fails
    FILE.reload-due   the mark: there from before the rename until Exim is seen to have loaded what stands
    FILE.last-reload  when (its time) and what (digest, inode, change time) Exim was last seen to have loaded
    FILE.grant        root's word for one large shrink
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from eximcertd.publish import exim_daemon, limits, macrofile
from eximcertd.publish.judge import Facts, NoNamespaceError, honoured, judge, judge_directory
from eximcertd.publish.old_request import (
    CHANGED,
    DIED,
    FAILED,
    LIVE,
    NOT_RUNNING,
    VERIFIED,
    Answer,
    Found,
    Request,
)
from eximcertd.publish.safely import Directory
from eximcertd.publish.stop import Stop, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.publish.exim_daemon import Daemon
    from eximcertd.publish.macrofile import MacroFile
    from eximcertd.publish.settings import Settings

_LOCK_LIMIT: Final = 20.0


def answer(settings: Settings, request: Request, *, root_allows_shrink: bool = False) -> Answer:
    """Do what is asked, and tell what came of it. Raises nothing that a file, a limit or Exim can cause."""
    steps = _Steps()
    found = None
    with ExitStack() as held:
        try:
            with steps.step("lock"):
                directory = Directory(settings.file.parent)
                held.callback(directory.close)
                publication = Publication(settings, request, directory, steps, root_allows_shrink=root_allows_shrink)
                held.enter_context(directory.locked(publication.name("lock"), _LOCK_LIMIT))
            try:
                given = publication.run()
            finally:
                with suppress(Stop, OSError):
                    found = publication.found()
        except Stop as stop:
            words = (steps.failed, stop.message, stop.exim, stop.rewritten_by)
            given = Answer(stop.outcome, *words, retry_after=stop.retry_after)
    return replace(given, found=found, file=str(settings.file), timings=steps.timings)


class _Steps:
    """Which step is being done, what each took, and which failed first."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self.failed = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Do one step; an OSError in it becomes a Stop that names the file."""
        began = time.monotonic()
        try:
            yield
        except OSError as error:
            self.failed = self.failed or name
            where = f"{error.filename}: " if error.filename else ""
            raise Stop(FAILED, f"{where}{error.strerror or error} (step {name})") from None
        except Stop:
            self.failed = self.failed or name
            raise
        finally:
            self.timings[name] = round(self.timings.get(name, 0.0) + time.monotonic() - began, 6)


class Publication:
    """A request being done, with the lock held."""

    def __init__(
        self, settings: Settings, request: Request, directory: Directory, steps: _Steps, *, root_allows_shrink: bool
    ) -> None:
        self._settings = settings
        self._request = request
        self._directory = directory
        self._step = steps.step
        self._root_allows_shrink = root_allows_shrink
        self._uses_grant = False

    def name(self, suffix: str) -> str:
        """Return the name of a file beside the macro file."""
        return f"{self._settings.file.name}.{suffix}"

    def run(self) -> Answer:
        """Verify, or publish. Raises Stop."""
        with self._step("standing"):
            standing = self._read()
            due = self._due(standing)
        if self._request.form is None:
            return self._verify(standing)
        if self._request.standing not in (None, standing.found.digest):
            raise Stop(CHANGED, f"{self._settings.file} was changed by somebody else: nothing was done")
        value, text = self._wanted(standing)
        with self._step("limits"):
            self._check_limits(standing)
        if text == standing.raw:
            return self._unchanged(value, due=due)
        return self._replace(standing, value, text)

    # what stands

    def _read(self) -> MacroFile:
        return macrofile.parse(self._settings.macro, self._directory.read(self._settings.file.name, macrofile.LARGEST))

    def found(self) -> Found:
        """Return the file as it stands now. Raises Stop and OSError."""
        standing = self._read()
        return replace(standing.found, due=self._due(standing))

    def _record(self, standing: MacroFile) -> str:
        """Return what tells this very file, as renamed into place, from every other."""
        stat = self._directory.stat(self._settings.file.name)
        return f"{standing.found.digest} {stat.st_ino} {stat.st_ctime_ns}" if stat else "-"

    def _due(self, standing: MacroFile) -> bool:
        if self._directory.stat(self.name("reload-due")) is not None:
            return True
        seen = (self._directory.read(self.name("last-reload"), 256) or b"").decode("ascii", "replace")
        return seen.rpartition(" ")[0] != self._record(standing)

    def _verify(self, standing: MacroFile) -> Answer:
        with self._step("judge"):
            facts = judge(self._settings, standing.value, None)
            if standing.found.form == "directory":
                judge_directory(self._settings, facts)
        with self._step("daemon"):
            daemon = self._daemon(facts)
        return Answer(VERIFIED, exim_pid=daemon.pid if daemon else None)

    # what is asked for

    def _wanted(self, standing: MacroFile) -> tuple[str, bytes]:
        if self._request.form == "directory":
            value = macrofile.lookup_value(self._settings.allowed)
        else:
            value = macrofile.list_value(self._request.fingerprints)
        return value, macrofile.render(self._settings.macro, value, standing.found.comments)

    def _check_limits(self, standing: MacroFile) -> None:
        asked, now = self._request, standing.found
        limits.check_form(self._settings, asked.form)
        limits.check_size(self._settings, len(asked.fingerprints))
        if asked.form == "directory" and now.form == "directory":
            return
        listed = honoured(self._settings.allowed) if "directory" in (asked.form, now.form) else set()
        before = listed if now.form == "directory" else set(now.fingerprints)
        after = listed if asked.form == "directory" else set(asked.fingerprints)
        why = limits.shrinks_too_much(self._settings, before, after)
        if not why or self._root_allows_shrink:
            return
        self._uses_grant = limits.has_grant(self._directory, self.name("grant"))
        if not self._uses_grant:
            raise refused(why)

    # the two ways to it

    def _unchanged(self, value: str, *, due: bool) -> Answer:
        """See that Exim has loaded what stands: it is what is asked for."""
        if due:
            self._wait()
        with self._step("judge"):
            facts = self._judge(value)
        with self._step("daemon"):
            daemon = self._daemon(facts)
        if due:
            with self._step("mark"):
                self._mark()
        return self._load(facts, daemon, due=due, since=time.clock_gettime(time.CLOCK_BOOTTIME))

    def _replace(self, standing: MacroFile, value: str, text: bytes) -> Answer:
        settings, directory = self._settings, self._directory
        self._wait()
        with self._step("write"):
            if standing.raw is None:
                directory.write(settings.file.name, b"", replace=False)  # something to mount over; it says nothing
            directory.write(self.name("candidate"), text)
        daemon = None
        with suppress(NoNamespaceError):  # then it is judged after the rename, and put back if it fails
            with self._step("judge"):
                facts = self._judge(value, candidate=True)
            with suppress(Stop, OSError):  # a daemon that cannot be found keeps no revocation from the file
                daemon = self._daemon(facts)
        with self._step("mark"):
            if self._uses_grant:
                directory.remove(self.name("grant"))
            directory.write(self.name("previous"), standing.raw or b"")
            self._mark()
        with self._step("rename"):
            if (self._read().raw or b"") != (standing.raw or b""):
                raise Stop(CHANGED, f"{settings.file} was changed by somebody else meanwhile: nothing was done")
        try:
            with self._step("rename"):
                directory.rename(self.name("candidate"), settings.file.name)
            since = time.clock_gettime(time.CLOCK_BOOTTIME)
            with self._step("check"):
                checked = self._judge(value)
        except BaseException:
            self._put_back()
            raise
        with self._step("daemon"):
            daemon = daemon or self._daemon(checked)
        return self._load(checked, daemon, due=True, since=since, replaced=True)

    def _judge(self, value: str, *, candidate: bool = False) -> Facts:
        path = self._settings.file.with_name(self.name("candidate")) if candidate else None
        facts = judge(self._settings, value, path)
        if self._request.form == "directory":
            judge_directory(self._settings, facts)
        return facts

    def _wait(self) -> None:
        with self._step("wait"):
            limits.wait_for_turn(self._settings, self._directory, self.name("last-reload"))

    def _daemon(self, facts: Facts) -> Daemon | None:
        return exim_daemon.find(self._settings, facts) if self._settings.reload else None

    def _mark(self) -> None:
        """Leave the mark, and the time of the reload that is about to come; all synced."""
        self._directory.write(self.name("last-reload"), b"")
        if self._directory.stat(self.name("reload-due")) is None:
            self._directory.write(self.name("reload-due"), b"")
        self._directory.sync()

    def _put_back(self) -> None:
        with self._step("put back"):
            self._directory.rename(self.name("previous"), self._settings.file.name)

    # Exim

    def _load(self, facts: Facts, daemon: Daemon | None, *, due: bool, since: float, replaced: bool = False) -> Answer:
        """See that Exim loads what stands, and take the mark away then."""
        if self._settings.reload and daemon is None:
            what = (
                "no Exim daemon runs, so there was none to signal: what was asked for stands, and counts for the next"
            )
            return Answer(NOT_RUNNING, "daemon", what)
        if due and daemon is not None:
            with self._step("reload"):
                loaded = exim_daemon.reload(daemon, facts)
                if not loaded:
                    successor = exim_daemon.successor(self._settings, facts, since)
                    loaded, daemon = successor is not None, successor or daemon
            if not loaded:
                return self._died(facts, daemon, replaced=replaced)
        pid = daemon.pid if daemon else None
        if not due:
            at = float((self._directory.read(self.name("last-reload"), 256) or b"0").split()[-1])
            return Answer(LIVE, exim_pid=pid, loaded_at=at)
        at, message = time.time(), ""
        try:
            with self._step("unmark"):
                self._directory.write(self.name("last-reload"), f"{self._record(self._read())} {at:.3f}\n".encode())
                self._directory.remove(self.name("reload-due"))
                self._directory.sync()
        except Stop as stop:
            message = (
                f"what was asked for is live, but this was not noted and Exim will be reloaded again: {stop.message}"
            )
        return Answer(LIVE, message=message, exim_pid=pid, loaded_at=at)

    def _died(self, facts: Facts, daemon: Daemon, *, replaced: bool) -> Answer:
        """Exim is gone after a HUP: put the old file back, and start Exim again if root's configuration says so."""
        message = (
            f"EXIM IS DOWN: its daemon {daemon.pid} ended on a reload; see the end of its panic log for the reason."
        )
        if replaced:
            try:
                self._put_back()
                message += " The previous file was put back."
            except Stop as stop:
                message += f" The previous file could not be put back: {stop.message}."
        if not self._settings.restart:
            return Answer(DIED, "reload", f"{message} Start Exim again.")
        try:
            why = exim_daemon.restart(daemon, self._settings, facts)
        except Stop as stop:
            why = stop.message
        if why:
            return Answer(DIED, "restart", f"{message} [publish] on_dead = restart: {why}. Start Exim again.")
        return Answer(
            DIED, "reload", message.replace("EXIM IS DOWN", "EXIM WAS DOWN") + " Exim was restarted.", restarted=True
        )
