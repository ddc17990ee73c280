"""Fuzz the parser and the renderers with atheris: ``fuzz_certificates.py [CORPUS] [libFuzzer options]``.

Without options it runs until it is stopped. Whatever it finds, it leaves as crash-*; the same file as an
argument plays it again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore] # has no types, and may be missing

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["eximcertd"]):
    from lab.certificates import make, make_ca, make_weak
    from lab.hostile import check


def seeds(place: Path) -> None:
    """Write certificates to begin with."""
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        for one in (
            make(made, "a.example"),
            make_ca(made),
            make_weak(made, "b.example"),
            make(made, "c", key="ed25519"),
        ):
            (place / f"{one.fingerprint[:8]}.der").write_bytes(one.der)
            (place / f"{one.fingerprint[:8]}.pem").write_text(one.pem)


def main(arguments: list[str]) -> None:
    """Run libFuzzer."""
    if len(arguments) < 2 or arguments[1].startswith("-"):
        arguments.insert(1, tempfile.mkdtemp(prefix="fuzz-"))
    if not Path(arguments[1]).is_file():
        seeds(Path(arguments[1]))
    atheris.Setup(arguments, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
