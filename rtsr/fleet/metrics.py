"""What Prometheus reads of a fleet: the metrics of every bridge, each with its worker and node, and the fleet's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from ..bridge.faults import Faults
from .config import FleetSettings
from .forward import Forward, Unreachable
from .placement import Fleet, Worker


async def exposition(fleet: Fleet, forward: Forward, settings: FleetSettings, faults: Faults) -> bytes:
    """Return everything in Prometheus' text format; a worker that does not answer is left out."""
    asked = [one for one in fleet.workers.values() if one.url]
    texts = await asyncio.gather(*(_of_worker(one, forward) for one in asked))
    families = [*merged(zip(asked, texts, strict=True)), *_of_fleet(fleet, settings, faults)]
    registry = CollectorRegistry()

    class Collector:
        def collect(self) -> Iterator[Metric]:
            yield from families

    registry.register(Collector())
    return generate_latest(registry)


async def _of_worker(worker: Worker, forward: Forward) -> str:
    try:
        answer = await forward.own(worker, "GET", "/metrics")
    except (Unreachable, TimeoutError):
        return ""
    return answer.body.decode() if answer.status == 200 else ""


def merged(texts: Iterable[tuple[Worker, str]]) -> list[Metric]:
    """Return the families of several expositions, with the labels `worker` and `node`."""
    families: dict[str, Metric] = {}
    for worker, text in texts:
        for family in text_string_to_metric_families(text):
            one = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                labels = {**sample.labels, "worker": worker.name, "node": worker.node}
                one.add_sample(sample.name, labels, sample.value)
    return list(families.values())


def _of_fleet(fleet: Fleet, settings: FleetSettings, faults: Faults) -> Iterator[Any]:
    workers = list(fleet.workers.values())
    gauges = {
        "workers": (sum(bool(one.url) for one in workers), "Workers that take calls"),
        "workers_absent": (sum(not one.url for one in workers), "Workers that do not: they start, or do not answer"),
        "workers_draining": (sum(one.drain_by_s is not None for one in workers), "Workers that take no new room"),
        "rooms": (len(fleet.homes), "Rooms"),
        "calls": (fleet.calls, "Calls, those that are being set up included"),
        "voices": (fleet.voices, "Calls that fit on workers that take new rooms"),
        "voices_free": (sum(one.free for one in workers if one.takes_rooms), "Calls that would still fit there"),
        "voices_wanted": (fleet.wanted(settings.spare, settings.spare_voices), "Calls that should fit"),
    }
    counters = {
        "refused": (fleet.refused, "Calls for which there was no worker"),
        "rooms_moved": (fleet.moved, "Rooms that moved from a worker that is drained"),
        "workers_lost": (fleet.lost, "Times that a worker's bridge was found gone"),
        "sip_faults": (faults.counts["sip"], "Messages of SIP that raised an error in the gateway"),
    }
    for name, (value, meaning) in gauges.items():
        yield GaugeMetricFamily(f"rtsr_fleet_{name}", meaning, value=value)
    for name, (value, meaning) in counters.items():
        yield CounterMetricFamily(f"rtsr_fleet_{name}", meaning, value=value)
