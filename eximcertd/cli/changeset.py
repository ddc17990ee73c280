"""Changes to files that can be shown, made all or none, restored on failure, and removed again later.

A change is a file of our own, or a text inserted into a file of another owner: appended, or in the place of another
text. A record, itself a file, lists what was written, so that the contents of the files without it can be computed. The
plan for a new set of changes starts from these contents, and undoing is the plan for no changes. The record is written
before the first file, with the old and the new changes, and after the last one: wherever a run is killed, the next run
or an undo knows all that it may have written.

This module does not depend on the purpose of the changes.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.cli.steps import ChangeError, Step, beside, read, write
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Change:
    """One change. text: the new text. mode, group: of a file that is made. secret: neither shown nor recorded.

    replaces: None for a file of our own, else the text in a file of another owner that ``text`` replaces; "": ``text``
    is appended, to a new file if there is none.
    """

    path: Path
    text: str
    replaces: str | None = None
    mode: int = 0o644
    group: str = "root"
    secret: bool = False

    def made(self, before: str | None) -> str:
        """Return the file's contents with the change. Raises ChangeError if the replaced text is not there."""
        if self.replaces is None:
            if before is not None:
                hint = "move it away if it is not needed"
                raise ChangeError(f"{self.path} exists, and eximcertctl did not write it", hint=hint)
            return self.text
        if not self.replaces:
            return (before or "") + self.text
        if before is None or before.count(self.replaces) != 1:
            raise ChangeError(
                f"{self.path} does not hold {shown(self.replaces.strip())!r} exactly once",
                hint="leave one such line, and run this again",
            )
        return before.replace(self.replaces, self.text)

    def taken_out(self, after: str | None) -> str | None:
        """Return the file's contents without the change, None for no file."""
        if self.replaces is None or after is None:
            return None
        return after.replace(self.text, self.replaces, 1) if self.text in after else after


@dataclass(frozen=True, slots=True)
class Record:
    """What was written: the changes, the files that were made only for a text to be appended, the directories made."""

    changes: tuple[Change, ...] = ()
    created: frozenset[Path] | set[Path] = frozenset()
    directories: tuple[Path, ...] = ()

    def encoded(self) -> str:
        """Return it as JSON text, without the secrets."""
        shortened = [replace(one, text="") if one.secret else one for one in self.changes]
        return json.dumps(
            {
                "changes": [{**asdict(one), "path": str(one.path)} for one in shortened],
                "created": sorted(map(str, self.created)),
                "directories": list(map(str, self.directories)),
            },
            indent=1,
        )

    @classmethod
    def decoded(cls, text: str) -> Record:
        """Return what ``encoded`` wrote. Raises ValueError, TypeError, KeyError."""
        found = json.loads(text)
        return cls(
            tuple(Change(**{**one, "path": Path(one["path"])}) for one in found["changes"]),
            frozenset(map(Path, found["created"])),
            tuple(map(Path, found["directories"])),
        )


class Changeset:
    """The changes that were written, by their record, and the plan for others.

    record: the file that lists what was written; its directory is made if it is missing.
    """

    def __init__(self, record: Path) -> None:
        self._file: Final = record
        self._record = _load(record)

    def __bool__(self) -> bool:
        """Tell whether the record lists any change."""
        return bool(self._record.changes)

    def standing(self, *paths: Path) -> list[Change]:
        """Return the changes in some files, our own with their present contents: for a plan that keeps them."""
        found = {one.path: one for one in self._record.changes if one.path in paths}
        return [replace(one, text=read(one.path) or "") if one.replaces is None else one for one in found.values()]

    def without_us(self, path: Path) -> str | None:
        """Return the contents of a file without our changes, None for no file. Raises ChangeError."""
        contents = read(path)
        for change in reversed(self._record.changes):
            if change.path == path:
                contents = change.taken_out(contents)
        return contents or (None if path in self._record.created else contents)

    def plan(self, changes: Sequence[Change]) -> list[Step]:
        """Return the steps after which ``changes`` are written and no others. Raises ChangeError.

        A file of our own that exists already and is not ours is not overwritten: that is an error.
        """
        steps = []
        for path in dict.fromkeys(change.path for change in (*changes, *self._record.changes)):
            contents = self.without_us(path)
            for change in changes:
                if change.path == path:
                    contents = change.made(contents)
            before = read(path)
            if contents != before:
                known = next(change for change in (*changes, *self._record.changes) if change.path == path)
                steps.append(Step(path, before, contents, known.mode, known.group, known.secret))
        return steps

    def apply(self, changes: Sequence[Change], finish: Callable[[], None]) -> None:
        """Write ``changes`` and no others, and call ``finish``; if anything fails, restore all files.

        finish: makes the changes effective; it raises if that fails. Raises what failed, and ChangeError if a file
        could not be restored.
        """
        steps = self.plan(changes)
        before = self._record
        created = {change.path for change in changes if change.replaces == "" and self.without_us(change.path) is None}
        made = _missing_directories([self._file, *(step.path for step in steps)])
        directories = (*before.directories, *made)
        done: list[Step] = []
        try:
            _make(made)
            self._keep(Record((*before.changes, *changes), before.created | created, directories))
            for step in steps:
                done.append(step)
                write(step)
            finish()
            for change in before.changes:
                beside(change.path).unlink(missing_ok=True)  # of a run that was killed
            self._keep(Record(tuple(changes), created, directories if changes else before.directories))
        except BaseException:
            self._put_back(done, replace(before, directories=directories if before.changes else tuple(made)))
            raise

    def _put_back(self, done: Sequence[Step], record: Record) -> None:
        left = []
        for step in reversed(done):
            try:
                write(Step(step.path, step.after, step.before, step.mode, step.group, step.secret))
            except ChangeError as error:
                left.append(error.message)
        if left:
            raise ChangeError(f"not everything could be restored: {'; '.join(left)}", hint="run it again with --undo")
        self._keep(record)

    def _keep(self, record: Record) -> None:
        """Write the record; if it is empty, remove it and the directories that were made."""
        if record.changes:
            write(Step(self._file, None, record.encoded(), 0o600, "root", secret=True))
            self._record = record
            return
        write(Step(self._file, None, None, 0o600, "root", secret=True))
        beside(self._file).unlink(missing_ok=True)
        for directory in reversed(record.directories):
            with contextlib.suppress(OSError):  # it holds a file of another owner
                directory.rmdir()
        self._record = Record()


def _load(record: Path) -> Record:
    text = read(record)
    if text is None:
        return Record()
    try:
        return Record.decoded(text)
    except (ValueError, TypeError, KeyError):
        hint = "it lists what eximcertctl wrote where; restore it, or undo the changes by hand and remove it"
        raise ChangeError(f"{record} is damaged", hint=hint) from None


def _make(directories: Iterable[Path]) -> None:
    for directory in directories:
        try:
            directory.mkdir()
            directory.chmod(0o755)
        except OSError as error:
            raise ChangeError(f"{directory} cannot be made: {error.strerror}") from None


def _missing_directories(paths: Iterable[Path]) -> list[Path]:
    """Return the directories above ``paths`` that do not exist, the outermost first."""
    missing = {parent for path in paths for parent in path.parents if not parent.exists()}
    return sorted(missing, key=lambda path: len(path.parts))
