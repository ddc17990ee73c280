"""The wheel: what "pip install" puts on a machine that has no package of eximcertd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAN = sorted((ROOT / "docs/man").glob("*.[0-9]"))
EXAMPLES = "share/doc/eximcertd/examples/exim"


@pytest.fixture(scope="module")
def prefix(pip_install: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel; return the prefix."""
    directory = tmp_path_factory.mktemp("prefix")
    subprocess.run([*pip_install, "--prefix", directory], check=True, timeout=100)
    return directory


def same(installed: Path, shipped: Path) -> bool:
    return installed.read_bytes() == shipped.read_bytes()


@pytest.mark.parametrize(
    "name", ["eximcertd", "eximcertctl", "eximcertd-publish", "eximcertd-reload", "eximcertd-fleet"]
)
def test_it_has_the_programs(prefix: Path, name: str) -> None:
    assert (prefix / "bin" / name).stat().st_mode & 0o111


@pytest.mark.parametrize("page", MAN, ids=lambda page: page.name)
def test_it_has_the_man_pages_where_man_looks(prefix: Path, page: Path) -> None:
    assert same(prefix / f"share/man/man{page.suffix[1:]}" / page.name, page)


def test_it_has_all_that_belongs_to_systemd_and_the_configuration(prefix: Path) -> None:
    shipped = sorted((ROOT / "packaging/systemd").iterdir())
    assert shipped
    for path in shipped:
        assert same(prefix / "share/eximcertd/systemd" / path.name, path)
    assert same(prefix / "share/eximcertd/eximcertd.toml", ROOT / "etc/eximcertd.toml")


@pytest.mark.parametrize("source", ["packaging/exim", "eximcertd/cli/setup/exim"])
def test_it_has_the_examples(prefix: Path, source: str) -> None:
    shipped = [path for path in (ROOT / source).rglob("*") if path.is_file()]
    assert shipped
    for path in shipped:
        assert same(prefix / EXAMPLES / path.relative_to(ROOT / source), path)
