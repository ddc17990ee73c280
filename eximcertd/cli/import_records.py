"""What import reads: decisions as export writes them, or a plain list of fingerprints.

Everything is checked before anything is sent. Memory is bounded: checked records go to a temporary file.
"""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from eximcertd.errors import EximcertdError, UsageError
from eximcertd.fingerprint import FingerprintError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST: Final = 10_000
"""Records of one call."""

LARGEST: Final = 900_000
"""Bytes of the records of one call, in JSON; the server takes a call of 1 MiB."""

LONGEST_LINE: Final = 8192
_KEYS: Final = ("fingerprint", "verb", "by", "at", "note")
_VERBS: Final = (None, "approve", "adopt", "reject", "revoke")


class ImportRecords:
    """The checked records of a stream. name: of the stream, for error messages. count: how many there are.

    Raises UsageError that names the first line that is wrong, EximcertdError.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.count = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when this is
        try:
            self._read(stream, name)
            self._file.flush()
        except OSError as error:
            self._file.close()
            where = f"{name} cannot be read, or {tempfile.gettempdir()} cannot be written"
            raise EximcertdError(f"{where}: {error.strerror}; nothing was imported") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """Return the records."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary file."""
        self._file.close()

    def portions(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the records in portions that fit into a call."""
        self._file.seek(0)
        portion: list[dict[str, Any]] = []
        size = 0
        for line in self._file:
            if portion and (len(portion) == MOST or size + len(line) > LARGEST):
                yield portion
                portion, size = [], 0
            portion.append(json.loads(line))
            size += len(line)
        if portion:
            yield portion

    def _read(self, stream: BinaryIO, name: str) -> None:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            try:
                record = _record(line)
            except ValueError as error:
                raise UsageError(f"{name}, line {number}: {error}; nothing was imported") from None
            if record is not None:
                self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
                self.count += 1


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, None for a line without one. Raises ValueError with what is wrong."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"longer than {LONGEST_LINE} bytes")
    try:
        text = line.decode().strip().removeprefix("[").removesuffix("]").strip().removesuffix(",").strip()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    if not text or text.startswith("#"):
        return None
    if not text.startswith("{"):
        return {"fingerprint": _fingerprint(text)}
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not a JSON object on a line of its own") from None
    if not isinstance(given, dict) or not all(
        isinstance(given.get(key), str | None) or key == "fingerprint" for key in _KEYS
    ):
        raise ValueError("fingerprint, verb, by, at and note are texts")
    if given.get("verb") not in _VERBS:
        raise ValueError(f"{str(given['verb'])[:40]!r} is no decision: approve, adopt, reject or revoke")
    found = {key: given[key] for key in _KEYS if given.get(key) is not None}
    found["fingerprint"] = _fingerprint(given.get("fingerprint"))
    return found


def _fingerprint(text: Any) -> str:
    if not isinstance(text, str):
        raise ValueError("there is no fingerprint")  # noqa: TRY004 - for the one who reads a complaint about a line
    try:
        return parse(text)
    except FingerprintError as error:
        raise ValueError(str(error)) from None
