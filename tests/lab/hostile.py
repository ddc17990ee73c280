"""What must hold for any bytes in the certificate directory, for the fuzz tests."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

from eximcertd.certificates.blocks import certificates_in
from eximcertd.certificates.parsing import parse
from eximcertd.text import columns, shown

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def check(data: bytes) -> None:
    """Read ``data`` as a certificate and as a file of certificates, and render both. Raises AssertionError."""
    check_certificate(data)
    fd = os.memfd_create("hostile")
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        for der in certificates_in(fd, len(data)):
            check_certificate(der)
    finally:
        os.close(fd)


def check_certificate(der: bytes) -> None:
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
