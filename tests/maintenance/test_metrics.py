"""The metrics are what Prometheus reads, and its alerts and the dashboard name metrics that are there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.daemon import Eximcertd
from lab.wait import until

from eximcertd.maintenance.metrics import Measured, write

if TYPE_CHECKING:
    from lab.certificates import Identity
    from lab.exim import EximServer

pytest.importorskip("prometheus_client")

EXAMPLES = Path(__file__).parents[2] / "packaging" / "prometheus"
RULES = EXAMPLES / "eximcertd.rules.yml"
PROMTOOL = shutil.which("promtool") or ""
DASHBOARD = EXAMPLES / "eximcertd-dashboard.json"


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics") / "eximcertd.prom"


def test_the_daemon_writes_what_it_knows(exim: EximServer, alice: Identity, metrics: Path) -> None:
    with Eximcertd(exim, {"metrics": {"file": str(metrics)}}) as daemon:
        until(metrics.exists, "the first metrics")
        first = metrics.read_text()
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        metrics.unlink()
        daemon.restart()
        until(metrics.exists, "the metrics after a restart")
    for line in (
        'eximcertd_publications_total{outcome="live"} 1.0',
        'eximcertd_reloads_total{outcome="loaded"} 1.0',
    ):
        assert line in first
    text = metrics.read_text()
    for line in (
        'eximcertd_fingerprints{status="approved"} 1.0',
        "eximcertd_live 1.0",
        "eximcertd_exim_down 0.0",
        'eximcertd_expiring{within="30d"} 0.0',
        "# TYPE eximcertd_publications_total counter",
        "\neximcertd_published_timestamp_seconds ",
    ):
        assert line in text
    assert metrics.stat().st_mode & 0o777 == 0o644
    assert list(metrics.parent.iterdir()) == [metrics]
    assert "# TYPE eximcertd_log_lines_total counter" in text
    named = set(re.findall(r"eximcertd_[a-z_]+", RULES.read_text() + DASHBOARD.read_text()))
    assert named <= set(re.findall(r"^(eximcertd_[a-z_]+)", first + text, re.MULTILINE))


def test_a_relay_of_a_fleet_tells_how_far_it_follows(exim: EximServer, tmp_path: Path) -> None:
    file = tmp_path / "fleet.prom"
    with Eximcertd(exim, {"metrics": {"file": str(file)}, "fleet": {"relay": "mx1", "service": "away"}}):
        until(file.exists, "the first metrics")
    for line in (
        'fleet_generation{state="taken"} 0.0',
        'fleet_generation{state="live"} 0.0',
        "fleet_open 0.0",
        "fleet_held 0.0",
    ):
        assert f"\neximcertd_{line}\n" in file.read_text()


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    problem = write(tmp_path / "none" / "eximcertd.prom", [Measured("live", "Live.", {"": 1.0})])
    assert "cannot be written: No such file or directory" in problem


def test_a_label_is_escaped(tmp_path: Path) -> None:
    assert write(tmp_path / "x.prom", [Measured("enrolled", "Enrolled.", {'a"b\n': 1.0}, "authority")]) == ""
    assert 'authority="a\\"b\\n"' in (tmp_path / "x.prom").read_text()


def test_the_dashboard_is_json_with_a_panel_for_each_query() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"][0]["expr"] for panel in panels)


@pytest.mark.skipif(not PROMTOOL, reason="promtool comes with Debian's package prometheus")
def test_promtool_takes_the_alerts_the_queries_of_the_dashboard_and_the_metrics(tmp_path: Path) -> None:
    done = subprocess.run([PROMTOOL, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 rules found" in done.stdout
    queries = [panel["targets"][0]["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    call = [PROMTOOL, "check", "rules", str(tmp_path / "queries.yml")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    write(tmp_path / "x.prom", [Measured("publications", "Publications.", {"live": 1.0}, "outcome", counter=True)])
    text = (tmp_path / "x.prom").read_text()
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
