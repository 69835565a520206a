"""The metrics of all workers in one place."""

from __future__ import annotations

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from rtsr.bridge.faults import Faults
from rtsr.fleet.config import FleetSettings
from rtsr.fleet.metrics import exposition, merged
from rtsr.fleet.placement import Fleet, Worker

TEXT = """# HELP rtsr_bridge_calls Calls now
# TYPE rtsr_bridge_calls gauge
rtsr_bridge_calls {calls}
# HELP rtsr_bridge_ticks_total Ticks
# TYPE rtsr_bridge_ticks_total counter
rtsr_bridge_ticks_total 7.0
# TYPE rtsr_bridge_tick_ms gauge
rtsr_bridge_tick_ms{{quantile="0.5"}} 1.5
"""


def test_samples_of_several_workers_are_in_one_family_each_with_its_worker():
    texts = [(Worker("a", "n"), TEXT.format(calls=1)), (Worker("b", "n"), TEXT.format(calls=2)), (Worker("c", "n"), "")]
    families = {family.name: family for family in merged(texts)}
    assert set(families) == {"rtsr_bridge_calls", "rtsr_bridge_ticks", "rtsr_bridge_tick_ms"}
    calls = {sample.labels["worker"]: sample.value for sample in families["rtsr_bridge_calls"].samples}
    assert calls == {"a": 1, "b": 2}
    assert families["rtsr_bridge_tick_ms"].samples[0].labels == {"quantile": "0.5", "worker": "a", "node": "n"}
    assert {sample.name for sample in families["rtsr_bridge_ticks"].samples} == {"rtsr_bridge_ticks_total"}


def test_a_fleet_without_a_worker_says_so():
    fleet = Fleet()
    fleet.workers["a"] = Worker("a", "n", limit=4)
    text = asyncio.run(exposition(fleet, None, FleetSettings(), Faults())).decode()
    found = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
    assert (found["rtsr_fleet_workers"], found["rtsr_fleet_workers_absent"]) == (0, 1)
    assert found["rtsr_fleet_voices"] == 0
    assert found["rtsr_fleet_voices_wanted"] == 8
