"""What must hold for any bytes at all that lie in the certificate directory: the judge of the fuzz tests."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

from eximcertd.certificates.blocks import Blocks
from eximcertd.certificates.parsing import parse
from eximcertd.text import columns, shown

NOW = datetime(2026, 11, 22, tzinfo=UTC)

_BLOCKS = Blocks()


def judge(data: bytes) -> None:
    """Read ``data`` as a certificate and as a file of certificates, and render both. Raises AssertionError."""
    judge_certificate(data)
    fd = os.memfd_create("hostile")
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        for der in _BLOCKS.read(fd, len(data)):
            judge_certificate(der)
    finally:
        os.close(fd)
    assert not any(_BLOCKS._buffer[: len(data) + 1])


def judge_certificate(der: bytes) -> None:
    """Parse ``der`` and render it as a table and as JSON."""
    certificate = parse(der)
    text = json.dumps(certificate.as_json(NOW), ensure_ascii=False)
    assert text.isprintable(), text
    assert text.encode()
    assert len(certificate.fingerprint) == 64
    for raw in (certificate.subject, certificate.issuer, *certificate.names, *certificate.warnings(NOW)):
        cell = shown(raw, 30)
        assert cell.isprintable()
        assert columns(cell) <= 30
