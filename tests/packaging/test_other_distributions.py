"""The recipes for the packages of Arch and Fedora, run with pip for the tools that Debian does not have."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PKGBUILD = ROOT / "packaging/arch/PKGBUILD"
SPEC = ROOT / "packaging/fedora/eximcertd.spec"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
UNITS = sorted(path.name for path in (ROOT / "packaging/systemd").iterdir() if path.suffix in {".service", ".socket"})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the source distribution; the parts of it that the recipes use."""
    archive = tmp_path_factory.mktemp("source") / f"eximcertd-{VERSION}.tar.gz"
    parts = ("packaging", "etc", "README.md", "CHANGELOG.md", "COPYING")
    command = ["/bin/tar", "-C", str(ROOT), "-czf", str(archive), f"--transform=s,^,eximcertd-{VERSION}/,", *parts]
    subprocess.run(command, check=True, timeout=20)
    return archive


def verify(root: Path) -> None:
    """Verify what lies in a package's root."""
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files >= {
        "etc/eximcertd/eximcertd.toml",
        *(
            f"usr/bin/{name}"
            for name in ("eximcertd", "eximcertctl", "eximcertd-publish", "eximcertd-reload", "eximcertd-fleet")
        ),
        *(f"usr/lib/systemd/system/{name}" for name in UNITS),
        "usr/lib/systemd/catalog/eximcertd.catalog",
        "usr/lib/sysusers.d/eximcertd.conf",
        "usr/share/doc/eximcertd/examples/exim/README",
    }
    assert {re.sub(r"\.gz$", "", name) for name in files} >= {
        f"usr/share/man/man{page.suffix[1]}/{page.name}" for page in (ROOT / "docs/man").iterdir()
    }
    systemd = root / "usr/lib/systemd/system"
    assert "\nUser=exim\n" in (systemd / "eximcertd-reload@.service").read_text()
    assert "\nSupplementaryGroups=exim\n" in (systemd / "eximcertd.service").read_text()
    assert not any("Debian-exim" in (systemd / name).read_text() for name in UNITS)


def test_the_pkgbuild_makes_a_package(source: Path, pip_install: list[str], tmp_path: Path) -> None:
    subprocess.run(["/bin/tar", "-C", tmp_path, "-xf", source], check=True, timeout=20)
    script = f"""
        set -eu
        python() {{ [ "$2" != installer ] || {shlex.join(pip_install)} --prefix /usr --root "$pkgdir"; }}
        . {PKGBUILD}
        [ "$pkgname-$pkgver" = eximcertd-{VERSION} ]
        pkgdir={tmp_path}/root
        (cd {tmp_path}; build)
        (cd {tmp_path}; package)
    """
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    verify(tmp_path / "root")


def test_the_spec_makes_a_package_and_names_every_file_of_it(
    source: Path, pip_install: list[str], tmp_path: Path
) -> None:
    listed = tmp_path / "files"
    macros = {  # what Fedora's own macros stand for
        "_topdir": f"{tmp_path}/rpm",
        "_sourcedir": source.parent,
        "_unitdir": "/usr/lib/systemd/system",
        "_sysusersdir": "/usr/lib/sysusers.d",
        "_journalcatalogdir": "/usr/lib/systemd/catalog",
        "pyproject_buildrequires": "%{nil}",
        "pyproject_wheel": "%{nil}",
        "pyproject_install": f"{shlex.join(pip_install)} --prefix /usr --root %{{buildroot}}",
        "pyproject_save_files()": "(cd %{buildroot}; find usr/lib -path '*-packages/*' -type f | sed s,^,/,) >"
        f"{listed}",
        "pyproject_files": listed,
    }
    options = [f"--define={name} {value}" for name, value in macros.items()]
    done = subprocess.run(
        ["/usr/bin/rpmbuild", "-bb", "--nodeps", "--noclean", *options, SPEC],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    [root] = (tmp_path / "rpm/BUILDROOT").iterdir()
    verify(root)
