"""export and import: what goes from one machine to another, and what one wrong line does."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from lab.ctl import ctl
from lab.entries import ALICE, BOB, certificate
from lab.twins import Twin

from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.control.server import Caller


def test_what_is_exported_is_imported_and_a_second_time_adds_nothing(
    twin: Twin, at: tuple[str, str], tmp_path: Path
) -> None:
    twin.see(ALICE, certificate("CN=alice"))
    twin.see(BOB, certificate("CN=bob"))
    ctl(*at, "approve", ALICE, "--note", "n\u00f6te")
    ctl(*at, "reject", BOB)
    lines, array = ctl(*at, "export").out, ctl(*at, "export", "--json").out
    assert [json.loads(line)["fingerprint"] for line in lines.splitlines()] == [ALICE, BOB]
    file = tmp_path / "decisions"
    file.write_text(array)
    with Twin(tmp_path / "other") as other:
        there = ("--socket", str(other.path))
        assert ctl(*there, "import", given=lines).out.startswith("2 decisions read, 2 of them new.")
        assert ctl(*there, "import", file, "--json").json["added"] == 0
        assert other.records == twin.records
        assert len(other.called("Retry")) == 2


def test_a_bare_list_of_fingerprints_is_imported(twin: Twin, at: tuple[str, str]) -> None:
    assert ctl(*at, "import", "-", given=f"# hand-written\n{grouped(ALICE)}\n\n{BOB.lower()}\n").status == 0
    [sent] = twin.called("Import")
    assert [record["fingerprint"] for record in sent["records"]] == [ALICE, BOB]


@pytest.mark.parametrize(
    "line",
    [
        ALICE[:12],
        "{",
        "[1]",
        '{"fingerprint": 5}',
        '{"verb": "approve"}',
        f'{{"fingerprint": "{ALICE}", "verb": "see"}}',
        f'{{"fingerprint": "{ALICE}", "verb": 5}}',
        f'{{"fingerprint": "{ALICE}", "note": []}}',
        "x" * 10_000,
        "\udcff",
        "[" * 8000,
    ],
    ids=lambda line: repr(line[:30]),
)
def test_one_wrong_line_imports_nothing_and_is_named(twin: Twin, at: tuple[str, str], line: str) -> None:
    done = ctl(*at, "import", given=f"{ALICE}\n{line}\n".encode("utf-8", "surrogateescape"))
    assert done.status == 2
    assert "line 2: " in done.err
    assert twin.called("Import") == []


def test_a_long_import_goes_in_portions(twin: Twin, at: tuple[str, str]) -> None:
    given = "".join(json.dumps({"fingerprint": f"{number:064X}", "note": "n" * 50}) + "\n" for number in range(25_000))
    assert ctl(*at, "import", "--json", given=given).json["read"] == 25_000
    sizes = [len(sent["records"]) for sent in twin.called("Import")]
    assert sum(sizes) == 25_000
    assert max(sizes) <= 10_000
    assert len({sent["request"] for sent in twin.called("Import")}) == len(sizes)


def test_an_import_whose_answer_is_lost_says_how_far_it_came(tmp_path: Path) -> None:
    calls = 0
    stuck = threading.Event()

    async def tired(_: Caller, given: dict[str, Any]) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls > 1:
            stuck.set()
            await asyncio.Event().wait()
        return {"added": len(given["records"]), "older": 0}

    with Twin(tmp_path / "control", methods={"Import": tired}) as twin:

        def stop_when_stuck() -> None:
            stuck.wait(20)
            twin.close()

        thread = threading.Thread(target=stop_when_stuck)
        thread.start()
        done = ctl("--socket", twin.path, "import", given="".join(f"{number:064X}\n" for number in range(20_000)))
        thread.join()
    assert done.status == 4
    assert "at least 10,000 of 20,000 were imported" in done.err
