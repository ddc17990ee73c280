"""The program eximcertd-publish: one request on standard input, one answer on standard output."""

from __future__ import annotations

import argparse
import os
import selectors
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

from eximcertd.publish import settings as configuration
from eximcertd.publish.old_request import (
    DIED,
    FAILED,
    LARGEST_REQUEST,
    LIVE,
    NOT_RUNNING,
    REFUSED,
    VERIFIED,
    Answer,
    RequestError,
    decode,
    encode_answer,
)
from eximcertd.publish.safely import Directory
from eximcertd.publish.stop import Stop
from eximcertd.publish.transaction import answer

SLOWEST_REQUEST: Final = 5.0
"""Seconds in which a request must have come."""


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit status: 0 done, 1 not done (the answer says why), 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="eximcertd-publish",
        description="Publish the allowlist that is asked for on standard input, or verify what stands.",
    )
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_FILE, metavar="FILE")
    parser.add_argument("--allow-shrink", action="store_true", help="let this request throw out any number")
    parser.add_argument("--grant-shrink", action="store_true", help="let one request within ten minutes do so")
    options = parser.parse_args(arguments)
    os.umask(0o022)
    given = _grant(options.config) if options.grant_shrink else _answer(options.config, options.allow_shrink)
    if given.outcome == DIED:
        print(f"<2>{given.message}", file=sys.stderr)  # noqa: T201 - sd-daemon(3): critical, in the journal
    with suppress(OSError):
        sys.stdout.buffer.write(encode_answer(given))
        sys.stdout.buffer.flush()
    return 0 if given.outcome in (LIVE, VERIFIED, NOT_RUNNING) else 1


def _answer(config: Path, allow_shrink: bool) -> Answer:
    try:
        request = decode(_read_request())
    except RequestError as error:
        return Answer(REFUSED, "request", f"the request is refused: {error}")
    except OSError as error:
        return Answer(REFUSED, "request", f"the request cannot be read: {error.strerror}")
    try:
        return answer(configuration.load(config.absolute()), request, root_allows_shrink=allow_shrink)
    except Stop as stop:
        return Answer(stop.outcome, "settings", stop.message)
    except OSError as error:
        return Answer(FAILED, "settings", f"{config}: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked must be told
        traceback.print_exc()
        return Answer(FAILED, "", f"a fault in eximcertd-publish: {error!r}; please report it")


def _read_request() -> bytes:
    """Return all of standard input. Raises RequestError if it is too large or too slow, and OSError."""
    raw = bytearray()
    deadline = time.monotonic() + SLOWEST_REQUEST
    with selectors.PollSelector() as ready:
        ready.register(0, selectors.EVENT_READ)
        while True:
            if not ready.select(max(0.0, deadline - time.monotonic())):
                raise RequestError(f"it was not complete within {SLOWEST_REQUEST:g} s")
            portion = os.read(0, 1 << 16)
            if not portion:
                return bytes(raw)
            raw += portion
            if len(raw) > LARGEST_REQUEST:
                raise RequestError(f"it is larger than {LARGEST_REQUEST} bytes")


def _grant(config: Path) -> Answer:
    """Leave root's word for one large shrink beside the macro file."""
    try:
        file = configuration.load(config.absolute()).file
        directory = Directory(file.parent)
        try:
            directory.write(f"{file.name}.grant", b"")
            directory.sync()
        finally:
            directory.close()
    except Stop as stop:
        return Answer(stop.outcome, "grant", stop.message)
    except OSError as error:
        return Answer(FAILED, "grant", f"{error.filename or config}: {error.strerror}")
    return Answer(VERIFIED, "grant", f"one large shrink of {file} is allowed within the next ten minutes")
