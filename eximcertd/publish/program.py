"""The program eximcertd-publish: one request on standard input, one answer on standard output."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from eximcertd import settings
from eximcertd.publish.error import PublishError, refused
from eximcertd.publish.request import ACTIONS, FAILED, FIRST_LINE, REFUSED, Answer, RequestError, receive
from eximcertd.publish.secure_files import SecureDirectory
from eximcertd.publish.transaction import answer


def main() -> int:
    """Run the program; return its exit status: 0 an answer was given, whatever it says; 2 wrong usage."""
    config, allow_shrink = _options(sys.argv[1:]) if sys.argv[1:] else (settings.DEFAULT_FILE, False)
    os.umask(0o022)
    said = _answer(config, allow_shrink=allow_shrink)
    found = said.found._asdict() if said.found else None
    with suppress(BrokenPipeError):  # the caller may have closed the connection
        os.write(1, json.dumps({**said._asdict(), "found": found}, separators=(",", ":")).encode() + b"\n")
    return 0


def _options(arguments: list[str]) -> tuple[Path, bool]:
    import argparse  # noqa: PLC0415 - started by systemd, the program has no arguments and does not wait for this

    parser = argparse.ArgumentParser(
        prog="eximcertd-publish", description="Read, write or restore the macro file, as standard input asks."
    )
    parser.add_argument("--config", type=Path, default=settings.DEFAULT_FILE, metavar="FILE", help="configuration file")
    parser.add_argument("--allow-shrink", action="store_true", help="override max_shrink for this request")
    options = parser.parse_args(arguments)
    return options.config.absolute(), options.allow_shrink


def _answer(file: Path, *, allow_shrink: bool) -> Answer:
    step = "settings"
    try:
        config = load(file)
        step = "request"
        request = receive(0, FIRST_LINE, ACTIONS, config.publish.max_fingerprints)
        return answer(config, request, allow_shrink=allow_shrink)
    except (RequestError, PublishError, settings.SettingsError) as error:
        return Answer(REFUSED, step, str(error))
    except OSError as error:
        return Answer(FAILED, step, f"{error.filename or 'standard input'}: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - the caller must get an answer
        import traceback  # noqa: PLC0415 - for faults alone

        traceback.print_exc()
        return Answer(FAILED, "", f"a fault in eximcertd-publish: {error!r}; please report it")


def load(file: Path) -> settings.Config:
    """Read the configuration, if nobody but root can have written it. Raises PublishError, SettingsError, OSError."""
    if file == settings.DEFAULT_FILE and not os.path.lexists(file):
        return settings.Config()
    read = SecureDirectory(file.parent).read(file.name, settings.LARGEST_FILE)
    if read is None:
        raise refused(f"{file}: there is no such file")
    return settings.decode(read[0], file, ("allowlist", "exim", "state", "publish"))
