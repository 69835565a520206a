"""What goes with the container image: dashboards and alerts name metrics that exist, and the health check."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "contrib" / "container"
METRIC = re.compile(r"\brtsr_bridge_\w+")


def known() -> set[str]:
    """The names of all metrics of a bridge, as Prometheus stores them."""
    from rtsr.bridge import metrics

    source = Path(metrics.__file__).read_text()
    listed = re.findall(r'^        "(\w+)": \(', source, re.MULTILINE) + re.findall(r"rtsr_bridge_(\w+)\"", source)
    speakers = [f"speaker_{key}" for key in (*metrics.SPEAKER_GAUGES, *metrics.SPEAKER_COUNTERS)]
    listeners = [f"listener_{key}" for key in metrics.LISTENER_COUNTERS]
    names = {f"rtsr_bridge_{key}" for key in (*listed, *speakers, *listeners)}
    return names | {f"{name}_total" for name in names}


def queries() -> list[str]:
    dashboard = json.loads((FOLDER / "grafana" / "dashboards" / "rtsr-bridge.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_the_dashboard_and_the_alerts_ask_for_metrics_that_there_are():
    names = {name for text in (*queries(), (FOLDER / "alerts.yml").read_text()) for name in METRIC.findall(text)}
    assert len(names) > 20
    assert names <= known()


def accepted(*command: object) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_services_fit_the_schema_of_compose():
    pytest.importorskip("check_jsonschema")
    schema = ("--builtin-schema", "vendor.compose-spec")
    accepted(sys.executable, "-m", "check_jsonschema", *schema, FOLDER / "compose.yaml")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_prometheus_reads_its_settings_the_alerts_and_what_the_dashboard_asks(tmp_path):
    accepted("promtool", "check", "config", "--syntax-only", FOLDER / "prometheus.yml")
    accepted("promtool", "check", "rules", "--lint-fatal", FOLDER / "alerts.yml")
    asked = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(queries())]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": asked}]}))
    accepted("promtool", "check", "rules", tmp_path / "panels.yml")


def health(url: str) -> int:
    env = {"RTSR_HEALTH_URL": url, "PATH": "/usr/bin"}
    return subprocess.run([sys.executable, FOLDER / "health.py"], env=env, check=False, capture_output=True).returncode


def test_the_health_check_believes_only_200():
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        assert [health(f"{base}/healthz"), health(f"{base}/unhealthy")] == [0, 1]
    finally:
        server.shutdown()
        server.server_close()
    assert health(f"{base}/healthz") == 1
