"""The Debian package: built from the tree by one script, whole, and without a fault that lintian knows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAN = sorted((ROOT / "docs" / "man").glob("*.[58]"))


@pytest.fixture(scope="module")
def deb() -> str:
    done = subprocess.run([ROOT / "scripts" / "build-deb"], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def unpacked(deb: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("deb")
    subprocess.run(["/usr/bin/dpkg-deb", "-R", deb, str(directory)], check=True)
    return directory


def test_two_builds_from_two_checkouts_are_the_same_bytes(deb: str, tmp_path: Path) -> None:
    """What differs: the place, the times of the files, their modes, the time zone, the language, the umask."""
    tree = tmp_path / "elsewhere"
    tree.mkdir()
    for name in ("eximcertd", "etc", "docs", "packaging", "scripts"):
        shutil.copytree(
            ROOT / name, tree / name, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "COPYING"):
        shutil.copyfile(ROOT / name, tree / name)
    for script in (
        *(tree / "scripts").iterdir(),
        tree / "packaging/debian/rules",
        tree / "packaging/debian/tests/relay",
    ):
        script.chmod(0o700)
    done = subprocess.run(
        ["/bin/sh", "-c", f"umask 077; exec {tree}/scripts/build-deb {tmp_path}/out"],
        capture_output=True, text=True, check=False, timeout=100, env={**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == Path(deb).read_bytes()


def test_lintian_finds_no_error_and_no_warning(deb: str) -> None:
    said = subprocess.run(
        ["/usr/bin/lintian", "--allow-root", "--fail-on=error,warning", deb],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout == ""
    assert said.returncode == 0, said.stderr


def test_all_that_belongs_to_the_service_is_in_it(unpacked: Path) -> None:
    files = {str(path.relative_to(unpacked)).removeprefix("usr/") for path in unpacked.rglob("*") if path.is_file()}
    assert files >= {
        "bin/eximcertd",
        "bin/eximcertctl",
        "bin/eximcertd-publish",
        "bin/eximcertd-reload",
        "bin/eximcertd-fleet",
        "lib/systemd/system/eximcertd.service",
        "lib/systemd/system/eximcertd-mail.socket",
        "lib/systemd/system/eximcertd-mail@.service",
        "lib/systemd/system/eximcertd-publish.socket",
        "lib/systemd/system/eximcertd-publish@.service",
        "lib/systemd/system/eximcertd-reload.socket",
        "lib/systemd/system/eximcertd-reload@.service",
        "lib/systemd/system/eximcertd-fleet.service",
        "lib/systemd/catalog/eximcertd.catalog",
        "lib/sysusers.d/eximcertd.conf",
        "share/bash-completion/completions/eximcertctl",
        "share/zsh/vendor-completions/_eximcertctl",
        "share/fish/vendor_completions.d/eximcertctl.fish",
        "share/doc/eximcertd/fleet.md.gz",
        "share/doc/eximcertd/tutorial.md.gz",
        "share/doc/eximcertd/examples/exim/README",
        "share/doc/eximcertd/examples/exim/exim4.service.d/restart.conf",
        *(f"share/man/man{page.suffix[1]}/{page.name}.gz" for page in MAN),
    }
    assert "tests" not in {path.name for path in (unpacked / "usr/lib/python3/dist-packages").iterdir()}


def test_every_file_that_the_program_needs_beside_its_modules_is_in_it(unpacked: Path) -> None:
    there = unpacked / "usr/lib/python3/dist-packages"
    for path in (ROOT / "eximcertd").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert (there / path.relative_to(ROOT)).is_file(), path


def test_the_configuration_is_a_conffile(unpacked: Path) -> None:
    assert (unpacked / "DEBIAN/conffiles").read_text().split() == ["/etc/eximcertd/eximcertd.toml"]


def test_it_depends_on_debians_own_packages_for_every_library(unpacked: Path) -> None:
    control = (unpacked / "DEBIAN/control").read_text()
    depends = re.search(r"^Depends: (.*)$", control, re.MULTILINE)
    assert depends is not None
    names = {entry.split()[0] for entry in depends[1].split(", ")}
    assert names >= {"python3-click", "python3-cryptography", "python3-sdnotify", "python3-watchdog", "python3-systemd"}
    assert re.search(r"^Recommends: .*exim4-base", control, re.MULTILINE)
    assert not any(name.startswith("exim4") for name in names)


def test_the_package_and_the_project_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "packaging/debian/changelog").read_text()
    assert changelog.startswith(f"eximcertd ({project})")


@pytest.mark.parametrize("page", MAN, ids=lambda page: page.name)
def test_the_man_page_is_sound(page: Path) -> None:
    said = subprocess.run(["/usr/bin/man", "--warnings", "-l", page], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
        assert re.search(rf"^{section}$", said.stdout, re.MULTILINE), section


def test_the_man_page_explains_every_key_of_the_configuration() -> None:
    page = (ROOT / "docs/man/eximcertd.toml.5").read_text()
    keys = re.findall(r"(?m)^#([a-z_]+) = ", (ROOT / "etc/eximcertd.toml").read_text())
    assert sorted(re.findall(r"(?m)^\.It Cm (\S+)", page)) == sorted(keys)


def test_the_man_page_shows_the_drop_in_for_a_dead_exim_as_it_is_shipped() -> None:
    page = (ROOT / "docs/man/eximcertd.8").read_text()
    shipped = (ROOT / "packaging/exim/exim4.service.d/restart.conf").read_text()
    assert shipped[shipped.index("[Unit]") :] in page


def test_the_man_page_lists_every_kind_of_event() -> None:
    page = (ROOT / "docs/man/eximcertd.8").read_text()
    catalog = (ROOT / "packaging/systemd/eximcertd.catalog").read_text()
    assert re.findall(r"(?m)^\.It ([0-9a-f]{32}) ", page) == re.findall(r"(?m)^-- ([0-9a-f]{32})$", catalog)
