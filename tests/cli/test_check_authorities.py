"""check says whether a client of an approved authority relays at its first try."""

from __future__ import annotations

from pathlib import Path

import pytest

from eximcertd.cli.check.authorities import second_look
from eximcertd.cli.check.finding import Verdict
from eximcertd.cli.check.printed_config import read
from eximcertd.cli.setup import clauses


def said(names: Path, *, statements: bool, form: str = "auto", log: bool = True) -> list[tuple[Verdict, str]]:
    """Return what check says of an ACL with or without the statements for clients of an authority."""
    put_in = names if statements else None
    site = clauses.SiteNames("pinned", "RELAY_FROM_CERTS", Path("/list"), Path("/certs"), authorities=put_in)
    acl = clauses.by_hand(site)[2]
    if not log:
        acl = acl.replace("Certificate of the attempt", "Something else")
    printed = read(f"begin acl\n\nacl_check_rcpt:\n{acl}  deny message = relay not permitted\n")
    return [(line.verdict, line.sentence) for line in second_look(printed, "acl_check_rcpt", names, form)]


@pytest.fixture
def approved(tmp_path: Path) -> Path:
    (tmp_path / ("AB" * 32)).touch()
    return tmp_path


def test_without_an_authority_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert said(tmp_path, statements=True) == said(tmp_path, statements=False) == []


def test_an_acl_that_looks_twice_is_fine(approved: Path) -> None:
    [(verdict, sentence)] = said(approved, statements=True)
    assert verdict is Verdict.OK
    assert "looks twice" in sentence


def test_what_is_missing_is_named(approved: Path) -> None:
    assert "does not look twice" in said(approved, statements=False)[0][1]
    assert "no ACL logs the certificate" in said(approved, statements=True, log=False)[0][1]
    assert "gets 451" in said(approved, statements=True, form="list")[0][1]


def test_statements_that_look_into_no_directory_are_an_error(tmp_path: Path) -> None:
    [(verdict, sentence)] = said(tmp_path / "missing", statements=True)
    assert verdict is Verdict.ERROR
    assert "does not exist" in sentence
