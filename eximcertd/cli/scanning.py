"""eximcertctl scan: reads old logs, and sends the sightings to eximcertd, which counts nothing twice.

Light to import: the start is a good part of what a scan costs.
"""

from __future__ import annotations

import base64
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.control.protocol import LARGEST_CALL, Call, encode_call
from eximcertd.errors import EximcertdError, NoAnswerError
from eximcertd.log.backlog import Backlog
from eximcertd.log.cursor import FileCursor, from_json
from eximcertd.log.zone import zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eximcertd.cli.scanbar import Bar
    from eximcertd.control.client import Client
    from eximcertd.log.backlog import Portion
    from eximcertd.log.line import Grammar
    from eximcertd.log.sighting import ShownCertificate, Sighting

MOST_KEPT: Final = 10_000
"""Fingerprints that are kept to be shown; attempts of more are counted all the same."""

_LONGEST_TEXT: Final = 400
_MOST_CERTIFICATES: Final = 100  # in one call of the control socket
_TRIES: Final = 5


class Known:
    """How far log files were counted, and Exim's time zone, from eximcertd. client: None for neither.

    Raises EximcertdError.
    """

    def __init__(self, client: Client | None) -> None:
        self.files: dict[str, tuple[str, FileCursor]] = {}
        self.timezone = ""
        if client is None:
            return
        self.timezone = client.call("Status")["status"]["log"]["timezone"]
        for portion in client.stream("Segments"):
            for text in portion["segments"]:
                self.keep(text, from_json(text))

    def keep(self, text: str, cursor: FileCursor) -> None:
        """Note what is kept of a file. text: the cursor as eximcertd has it."""
        self.files[cursor.key] = (text, cursor)


class Scan:
    """Reads files and adds their attempts. client: None for a dry run. known: how far files were counted before.

    After ``run``: attempts, of found fingerprints (others: how many fingerprint entries were beyond MOST_KEPT);
    problems: what could not be read, a sentence each; size: bytes of the files, as they lie there.
    """

    def __init__(self, grammar: Grammar, client: Client | None, known: Known, bar: Bar) -> None:
        self._client = client
        self._known = known
        self._bar = bar
        self._backlog = Backlog(grammar, zone_of(known.timezone))
        self.found: dict[str, Sighting] = {}
        self.attempts = 0
        self.others = 0
        self.size = 0
        self.problems: list[EximcertdError] = []

    def run(self, files: Sequence[str]) -> None:
        """Read the files, one after the other. Raises what the daemon answers."""
        for path in files:
            for _ in range(_TRIES):
                if self._file(path, self._portions(path)):
                    break
                self._known = Known(self._client)  # another scan counted in the same file: see what is left
            else:
                self.problems.append(
                    EximcertdError(f"{path}: another scan counts in it", hint="Scan it again when that has ended.")
                )

    def _file(self, path: str, portions: Iterator[Portion]) -> bool:
        """Read one file; False: what was found cannot be added, since more of it was counted meanwhile."""
        size = 0
        for portion in portions:
            self._bar.show(path, portion.read, portion.size)
            size = portion.size
            if portion.cursor is None:
                continue
            if not self._record(portion.cursor, portion.sightings):
                return False
            for sighting in portion.sightings:
                self._keep(sighting)
        self.size += size
        return True

    def _portions(self, path: str) -> Iterator[Portion]:
        try:
            yield from self._backlog.read(path, [cursor for _, cursor in self._known.files.values()])
        except EximcertdError as error:
            self.problems.append(error)

    def _record(self, cursor: FileCursor, sightings: Sequence[Sighting]) -> bool:
        text, before = cursor.to_json(), self._known.files.get(cursor.key)
        if self._client is not None:
            given = {
                "segment": text,
                "before": None if before is None else before[0],
                "sightings": [to_json(sighting) for sighting in sightings],
            }
            if len(encode_call(Call("org.eximcertd.Record", given))) > LARGEST_CALL:  # what peers are called is long
                given["sightings"] = [to_json(replace(sighting, peer=None)) for sighting in sightings]
            if self._client.call("Record", given)["added"] is None:
                return False
            self._send_certificates(self._client, text, [one for one in sightings if one.fingerprint not in self.found])
        self._known.keep(text, from_json(text))
        return True

    @staticmethod
    def _send_certificates(client: Client, segment: str, sightings: Sequence[Sighting]) -> None:
        """Send the certificates that came with attempts, after these were counted: a call cannot hold all of both."""
        found = [_certificate(one.fingerprint, one.certificate) for one in sightings if one.certificate is not None]
        for start in range(0, len(found), _MOST_CERTIFICATES):
            given = {"segment": segment, "before": segment, "sightings": found[start : start + _MOST_CERTIFICATES]}
            client.call("Record", given)

    def _keep(self, sighting: Sighting) -> None:
        self.attempts += sighting.attempts
        if sighting.fingerprint in self.found:
            self.found[sighting.fingerprint].merge(sighting)
        elif len(self.found) < MOST_KEPT:
            self.found[sighting.fingerprint] = replace(sighting, certificate=None)
        else:
            self.others += 1


def known_to(client: Client, *, dry_run: bool) -> Known:
    """Return what was counted of log files; for a dry run eximcertd need not answer. Raises EximcertdError."""
    try:
        return Known(client)
    except NoAnswerError:
        if not dry_run:
            raise
        sys.stderr.write("eximcertctl: eximcertd does not answer: what it has counted before is not left out\n")
        return Known(None)


def to_json(sighting: Sighting) -> dict[str, Any]:
    """Return a sighting as the control socket takes it and --json prints it."""
    peer = sighting.peer
    return {
        "fingerprint": sighting.fingerprint,
        "attempts": sighting.attempts,
        "first_seen": _time(sighting.first),
        "last_seen": _time(sighting.last),
        "from": None
        if peer is None
        else {name: getattr(peer, name)[:_LONGEST_TEXT] for name in ("host", "helo", "sender", "recipient")},
    }


def _certificate(fingerprint: str, of: ShownCertificate) -> dict[str, Any]:
    """Return a sighting without attempts that brings a certificate."""
    shown = {"der": base64.b64encode(of.der).decode(), "issuer_hash": of.issuer_hash}
    return {"fingerprint": fingerprint, "attempts": 0, "first_seen": None, "last_seen": None, "shown": shown}


def _time(at: int | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
