"""etc/eximcertd.toml shows every key of the configuration, each with its true default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from eximcertd.config import DaemonConfig, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).parents[2] / "etc" / "eximcertd.toml"
SHIPPED = FILE.read_text(encoding="utf-8")
ENABLED = re.sub(r"(?m)^#(?=[a-z_]+ = )", "", SHIPPED)


def keys(config: DaemonConfig) -> Iterator[tuple[str, str, Any]]:
    more = {name: getattr(config, name) for name in ("notify", "policy", "metrics", "fleet")}
    for section, value in (config._asdict() | more).items():
        if section != "file":
            for key, default in value._asdict().items():
                yield section, key, default


def test_the_shipped_file_changes_nothing() -> None:
    assert decode(SHIPPED.encode(), FILE) == DaemonConfig(FILE)


def test_every_key_stands_there_as_a_comment_and_no_other() -> None:
    shown = {(section, key) for section, table in tomllib.loads(ENABLED).items() for key in table}
    assert shown == {(section, key) for section, key, _ in keys(DaemonConfig())}


@pytest.mark.parametrize(("section", "key", "default"), list(keys(DaemonConfig())), ids=lambda value: str(value)[:40])
def test_every_comment_shows_the_default(section: str, key: str, default: object) -> None:
    other = "directory" if key == "service" else "service"  # a fleet has one of the two
    one = re.sub(rf'(?m)^{other} = (?="eximcertd"|"/var/lib/eximcertd-fleet").*', "", ENABLED)
    enabled = getattr(getattr(decode(one.encode(), FILE), section), key)
    if default in {None, ()}:
        assert enabled is not None, "a key that is asked of Exim, or off, shows an example"
    else:
        assert enabled == default
