"""Which names in a directory belong to one log: the log itself, and what rotation makes of it.

    mainlog -> mainlog.1, mainlog.2.gz, mainlog-20261122, mainlog.0, mainlog.01
    main.log -> main.log.1, main-20261122.log.xz        (logrotate's ``extension``)
    mainlog-%D -> mainlog-20261122 is the log of a day, the latest name is the current one

%D stands for YYYYMMDD and %M for YYYYMM, as in Exim's log_file_path (Exim specification, chapter "Log
files"). Exim's clock and zone are not asked: the name that sorts last is the current log.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_DATES: Final = {"%D": r"\d{8}", "%M": r"\d{6}"}
_NO_LOG = re.compile(r"~\Z|\.(?:swp|tmp|part|lock)\Z")


class Names:
    """The names of a log, from the last part of its path, which may hold %D or %M."""

    def __init__(self, path: Path) -> None:
        self.template: Final = path.name
        parts = re.split(r"(%D|%M)", path.name)
        pattern = "".join(_DATES.get(part) or re.escape(part) for part in parts)
        self.dated: Final = len(parts) > 1
        self._log = re.compile(pattern)
        stem, dot, extension = path.name.rpartition(".")
        rotated = pattern + r"[.\-_].*"
        if dot and stem and not self.dated:
            rotated += "|" + re.escape(stem) + r"[.\-_].*" + re.escape("." + extension) + r"(?:\..*)?"
        self._rotated = re.compile(rotated)

    def current(self, names: Iterable[str]) -> str | None:
        """Return the name under which Exim writes now; where dates make it, None if there is none yet."""
        if not self.dated:
            return self.template
        return max((name for name in names if self._log.fullmatch(name)), default=None)

    def is_sibling(self, name: str) -> bool:
        """Tell whether an older part of the log may lie under this name."""
        if _NO_LOG.search(name):
            return False
        return self._rotated.fullmatch(name) is not None or (self.dated and self._log.fullmatch(name) is not None)
