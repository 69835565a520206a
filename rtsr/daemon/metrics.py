"""Prometheus metrics and a health check, on the loopback address only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..errors import InvalidSetting, MissingDependency

GAUGES = {
    "rtsr_input_level_db": ("input_db", "Peak level of what comes in, dB of full scale"),
    "rtsr_output_level_db": ("output_db", "Peak level of what goes out, dB of full scale"),
    "rtsr_cutoff_hz": ("cutoff_hz", "Where the received band ends"),
    "rtsr_drift_ppm": ("drift_ppm", "By how much the input's clock is faster"),
    "rtsr_uptime_seconds": ("uptime_s", "Since the start of the path"),
    "rtsr_bypass": ("bypass", "1 while the generated band is left out"),
    "rtsr_asleep": ("asleep", "1 while the network sleeps in silence"),
    "rtsr_delivers": ("delivers", "1 while devices and worker keep up, which /healthz asks of every path"),
    "rtsr_plain": ("plain", "1 while the output is the received band alone, for lack of time or input"),
}
COUNTERS = {
    "rtsr_hops": ("hops", "Hops processed"),
    "rtsr_late_hops": ("late_hops", "Hops that took longer to compute than they last"),
    "rtsr_worker_underruns": ("worker_underruns", "Blocks for which the worker was late"),
    "rtsr_input_underruns": ("input_underruns", "Blocks for which the input was late"),
    "rtsr_device_xruns": ("device_xruns", "Over- and underruns that the devices reported"),
    "rtsr_overloads": ("overloads", "Times the network was left out because the machine was too slow"),
    "rtsr_reconnects": ("reconnects", "Times the devices were opened anew"),
    "rtsr_cpu_seconds": ("cpu_s", "Processor time of the path"),
}

Stats = dict[str, dict[str, Any]]


def families(stats: Stats) -> Iterator[Any]:
    """Yield the metric families of the latest stats, labelled by path."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for kind, known in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
        for name, (key, meaning) in known.items():
            family = kind(name, meaning, labels=["path"])
            for path, values in stats.items():
                family.add_metric([path], float(values[key]))
            yield family
    for group, unit in (("latency_ms", "part"), ("compute_ms", "quantile")):
        family = GaugeMetricFamily(f"rtsr_{group}", f"{group} by {unit}", labels=["path", unit])
        for path, values in stats.items():
            for part, value in values[group].items():
                family.add_metric([path, part], float(value))
        yield family


class MetricsServer:
    """Serves /metrics and /healthz on 127.0.0.1; threads of its own. Port 0 takes a free one.

    `latest` gives the paths' latest stats, `failing` why each path delivers nothing that does not deliver.
    """

    def __init__(self, port: int, latest: Callable[[], Stats], failing: Callable[[], dict[str, str]]) -> None:
        try:
            from prometheus_client import CollectorRegistry, generate_latest
        except ImportError as error:
            raise MissingDependency("prometheus-client", "live", "--metrics") from error
        registry = CollectorRegistry()

        class Collector:
            def collect(self) -> Iterator[Any]:
                return families(latest())

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._reply(200, generate_latest(registry))
                elif self.path == "/healthz":
                    reasons = "".join(f"{path}: {reason}\n" for path, reason in failing().items())
                    self._reply(503 if reasons else 200, (reasons or "ok\n").encode())
                else:
                    self._reply(404, b"there are /metrics and /healthz\n")

            def _reply(self, code: int, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing: a scrape every few seconds is no news."""

        registry.register(Collector())
        try:
            self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise InvalidSetting(f"cannot serve metrics on port {port} ({error.strerror}): choose another") from error
        self.server.daemon_threads = True
        self.port = int(self.server.server_address[1])
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.1,), name="rtsr metrics", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
