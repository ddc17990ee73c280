"""Whatever bytes a stranger's certificate is made of: no crash, and no raw control byte on a screen."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab.certificates import make, make_ca
from lab.hostile import check, check_certificate

from eximcertd.certificates.der import is_certificate
from eximcertd.certificates.names import rfc4514
from eximcertd.certificates.parsing import parse

with TemporaryDirectory() as _place:
    _BASES = [
        make(Path(_place), "client.example", names=["a.example", "b.example"]).der,
        make(Path(_place), "rsa.example", key="rsa").der,
        make_ca(Path(_place)).der,
    ]

_PATCHES = st.lists(st.tuples(st.integers(0, 1500), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=6)


@given(st.sampled_from(_BASES), _PATCHES)
@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_certificate_that_was_tampered_with_is_shown_safely(
    base: bytes, patches: list[tuple[int, bytes, int]]
) -> None:
    der = base
    for at, new, old in patches:
        der = der[:at] + new + der[at + old :]
    check(der)
    is_certificate(der)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_shown_safely(data: bytes) -> None:
    check(data)
    check(b"-----BEGIN CERTIFICATE-----" + data + b"-----END CERTIFICATE-----")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16))
@settings(max_examples=50, deadline=None)
def test_any_name_in_a_good_certificate_is_shown_safely(text: str) -> None:
    with TemporaryDirectory() as place:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        one = make(Path(place), "named", subject=subject, names=[])
    check_certificate(one.der)
    assert parse(one.der).subject == rfc4514((((NameOID.COMMON_NAME.dotted_string, text),),))


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed here")
def test_a_short_run_of_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "fuzz" / "fuzz_certificates.py"
    command = [sys.executable, str(script), str(tmp_path / "corpus"), "-runs=20000", "-max_total_time=20", "-seed=1"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert said.returncode == 0, said.stderr[-3000:]
    assert "Done" in said.stderr
