"""What Prometheus reads of a bridge: totals of the engine, and a few lines for every call."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from .calls import Calls

SPEAKER_GAUGES = {
    "delay_ms": "From a packet's fastest arrival to its turn",
    "target_ms": "What that delay is held at",
    "jitter_ms": "By how much the slowest packets are later than the fastest",
    "level_in_db": "Peak level of what comes in, dB of full scale",
    "level_out_db": "Peak level of what is made of it, dB of full scale",
    "bypass": "1 while the generated band is left out",
}
SPEAKER_COUNTERS = {
    "received": "Packets received",
    "lost": "Packets that were not there when their turn came",
    "late": "Packets that came after their turn, or twice",
    "refused": "Packets without room, or that could not be decoded",
    "underruns": "Times that nothing was there though nothing was lost",
    "concealed_hops": "Hops that were made up",
    "dropped_hops": "Hops that were taken out to return to the target",
    "inserted_hops": "Hops that were put in to return to the target",
}
LISTENER_COUNTERS = {
    "sent": "Packets sent",
    "starved": "Packets that left late",
    "dropped": "Packets that nobody sent in time",
}


def exposition(calls: Calls) -> bytes:
    """Return everything in Prometheus' text format."""
    registry = CollectorRegistry()

    class Collector:
        def collect(self) -> Iterator[Any]:
            yield from _totals(calls)
            yield from _each(calls)

    registry.register(Collector())
    return generate_latest(registry)


def _totals(calls: Calls) -> Iterator[Any]:
    engine, work = calls.engine, calls.engine.work
    gauges = {
        "calls": (len(calls.by_id), "Calls now"),
        "calls_limit": (calls.limit, "Calls that fit"),
        "rooms": (len(calls.rooms), "Rooms that somebody is in"),
        "rows": (len(engine.pool), "Rows of the pool that are taken"),
        "tasks": (len(asyncio.all_tasks()), "Tasks of the event loop"),
        "load": (engine.load, "Share of the last second that ticks took"),
        "draining": (float(calls.draining), "1 while no call is let in for the bridge is being shut down"),
        "connect_ms": (math.nan if calls.connect_ms is None else calls.connect_ms, "From the last offer to sound"),
    }
    counters = {
        "calls_opened": (calls.opened, "Calls that were let in"),
        "calls_refused": (calls.refused, "Calls that were not"),
        "ticks": (engine.ticks, "Hops that the clock has seen"),
        "ticks_late": (work.late, "Ticks that took longer than a hop"),
        "ticks_skipped": (work.skipped, "Ticks that were left out after a stall"),
        "codec_cpu_seconds": (work.codec_s, "Processor time of jitter buffers, codecs and mixing"),
        "network_cpu_seconds": (work.network_s, "Processor time of the network"),
        "transport_cpu_seconds": (calls.transport_s, "Processor time of everything else: HTTP, ICE, SRTP"),
    }
    for name, (value, meaning) in gauges.items():
        yield GaugeMetricFamily(f"rtsr_bridge_{name}", meaning, value=value)
    for name, (value, meaning) in counters.items():
        yield CounterMetricFamily(f"rtsr_bridge_{name}", meaning, value=value)
    family = GaugeMetricFamily("rtsr_bridge_tick_ms", "Time of a tick, last ten seconds", labels=["quantile"])
    for quantile, value in engine.tick_ms(0.5, 0.95, 0.99).items():
        family.add_metric([str(quantile)], value)
    yield family


def _each(calls: Calls) -> Iterator[Any]:
    told = [(call.leg.room, call.stats()) for call in calls.by_id.values()]
    for part, kind, known in (
        ("speaker", GaugeMetricFamily, SPEAKER_GAUGES),
        ("speaker", CounterMetricFamily, SPEAKER_COUNTERS),
        ("listener", CounterMetricFamily, LISTENER_COUNTERS),
    ):
        for key, meaning in known.items():
            family = kind(f"rtsr_bridge_{part}_{key}", meaning, labels=["call", "room"])
            for room, stats in told:
                if stats[part] is not None:
                    family.add_metric([stats["id"], room], float(stats[part][key]))
            yield family
