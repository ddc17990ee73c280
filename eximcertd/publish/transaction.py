"""One request, step by step, so that a kill between any two leaves the old file or the new one, whole.

Beside the macro file FILE there are only:
    FILE.lock         one request at a time
    FILE.candidate    a file while it is written
    FILE.previous     the file before the last write; the action restore renames it back
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from eximcertd.publish import limits, macrofile
from eximcertd.publish.error import PublishError, refused
from eximcertd.publish.request import CHANGED, DONE, FAILED, Answer, Found, Request
from eximcertd.publish.secure_files import SecureDirectory, open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.settings import Config

LOCK_SECONDS: Final = 20.0


def answer(config: Config, request: Request, *, allow_shrink: bool) -> Answer:
    """Serve a request; return the answer. Raises nothing that a file, a limit or a full disk can cause."""
    steps, end = _StepTimer(), PublishError(DONE, "")
    transaction = _Transaction(config, request, steps, allow_shrink=allow_shrink)
    with ExitStack() as stack:
        try:
            transaction.run(stack)
        except PublishError as error:
            end = error
    found, file, changed = transaction.found, str(config.macro_file), transaction.changed
    return Answer(end.outcome, steps.failed, end.message, found, file, changed, end.retry_after, steps.timings)


class _StepTimer:
    """The steps: what each took, and which one failed."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self.failed = ""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Do one step. An OSError in it becomes a PublishError that names the file."""
        self.failed, began = name, time.monotonic()
        try:
            yield
            self.failed = ""
        except OSError as error:
            raise PublishError(FAILED, f"{error.filename or 'a file'}: {error.strerror} (step {name})") from None
        finally:
            self.timings[name] = round(time.monotonic() - began, 6)


class _Transaction:
    """A request being served. found: the present file. changed: whether this request replaced it."""

    def __init__(self, config: Config, request: Request, steps: _StepTimer, *, allow_shrink: bool) -> None:
        self._config, self._request = config, request
        self._step, self._allow_shrink = steps, allow_shrink
        self.found: Found | None = None
        self.changed = False

    def run(self, stack: ExitStack) -> None:
        """Lock, read, and do what is asked. Raises PublishError."""
        file, request = self._config.macro_file, self._request
        with self._step("lock"):
            directory = SecureDirectory(file.parent)
            stack.callback(os.close, directory.descriptor)
            stack.enter_context(directory.locked(f"{file.name}.lock", LOCK_SECONDS))
        with self._step("read"):
            raw = self._read(directory, file.name)
        if request.expected not in (None, self.found.digest if self.found else None):
            raise PublishError(CHANGED, f"{file} was changed by somebody else: nothing was done")
        if request.action == "restore":
            with self._step("restore"):
                self._restore(directory, file.name)
        elif request.action != "read":
            with self._step("limits"):
                text = self._wanted()
            if text != raw:
                with self._step("write"):
                    self._write(directory, file.name, raw, text)

    def _read(self, directory: SecureDirectory, name: str) -> bytes | None:
        self.found = None
        raw, status = directory.read(name, macrofile.LARGEST) or (None, None)
        inode, ctime_ns = (status.st_ino, status.st_ctime_ns) if status else (0, 0)
        self.found = self._parsed(directory, name, raw, inode, ctime_ns)
        return raw

    def _parsed(self, where: SecureDirectory, name: str, raw: bytes | None, inode: int = 0, ctime: int = 0) -> Found:
        try:
            return macrofile.parse(self._config.allowlist.macro, raw, inode, ctime)
        except PublishError as error:
            raise PublishError(error.outcome, f"{where.path / name}: {error.message}") from None

    def _wanted(self) -> bytes:
        """Return the text of the file that is asked for, if it is within the limits."""
        config, request, found = self._config, self._request, self.found or Found("absent")
        form = request.action.removeprefix("write ")
        limits.check_form(config, form)
        if not self._allow_shrink:
            limits.check_shrink(config, found, request)
        if form == "list":
            value = macrofile.list_value(request.fingerprints)
        else:
            os.close(open_directory(config.state.directory))  # its owner controls which clients relay
            value = macrofile.lookup_value(config.allowed)
        return macrofile.render(config.allowlist.macro, value, found.comments)

    def _write(self, directory: SecureDirectory, name: str, raw: bytes | None, text: bytes) -> None:
        """Keep the present file as the previous one, then replace it. Each change is one rename of a synced file."""
        limits.check_interval(self._config, self.found or Found("absent"))
        directory.write(f"{name}.candidate", raw or b"")
        directory.rename(f"{name}.candidate", f"{name}.previous")
        directory.write(f"{name}.candidate", text)
        if (directory.read(name, macrofile.LARGEST) or (None,))[0] != raw:
            raise PublishError(CHANGED, f"{directory.path / name} was changed by somebody else: nothing was done")
        self._replace(directory, f"{name}.candidate", name)

    def _restore(self, directory: SecureDirectory, name: str) -> None:
        previous = directory.read(f"{name}.previous", macrofile.LARGEST)
        if previous is None:
            raise refused(f"there is no {directory.path / name}.previous to restore")
        self._parsed(directory, f"{name}.previous", previous[0])
        self._replace(directory, f"{name}.previous", name)

    def _replace(self, directory: SecureDirectory, new: str, name: str) -> None:
        self.changed = True  # from here on it may be so, whatever fails
        try:
            directory.rename(new, name)
        finally:
            self._read(directory, name)
