"""What Prometheus reads of a bridge: totals of all calls. A single call is described by GET /rooms/ROOM.

No label has a call's or a room's name: each call would add a time series that never ends.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from .calls import Calls
from .listener import Listener

SPEAKER_GAUGES = {
    "delay_ms": "From a packet's fastest arrival to its turn, over all speakers",
    "target_ms": "What that delay is held at, over all speakers",
    "jitter_ms": "By how much the slowest packets are later than the fastest, over all speakers",
}
SPEAKER_COUNTERS = {
    "received": "Packets received",
    "lost": "Packets that were not there when their turn came",
    "recovered": "Lost packets that were heard from the copy in the next one",
    "late": "Packets that came after their turn, or twice",
    "refused": "Packets without room, or that could not be decoded",
    "underruns": "Times that nothing was there though nothing was lost",
    "concealed_hops": "Hops that were made up",
    "dropped_hops": "Hops that were taken out to return to the target",
    "inserted_hops": "Hops that were put in to return to the target",
}
LISTENER_COUNTERS = {
    "sent": "Packets sent",
    "underruns": "Packets that left late",
    "dropped": "Packets that were not sent in time",
}


def exposition(calls: Calls, listener: Listener | None = None) -> bytes:
    """Return everything in Prometheus' text format, with the listener's where there is one."""
    registry = CollectorRegistry()

    class Collector:
        def collect(self) -> Iterator[Any]:
            yield from _totals(calls)
            yield from _of_all_calls(calls)
            if listener:
                yield from _of_connections(listener)

    registry.register(Collector())
    return generate_latest(registry)


def _totals(calls: Calls) -> Iterator[Any]:
    media, work, writer = calls.media, calls.media.work, calls.recorder.writer
    gauges = {
        "calls": (len(calls.by_id), "Calls now"),
        "calls_limit": (calls.limit, "Calls that fit"),
        "rooms": (len(calls.rooms), "Rooms with at least one call"),
        "rows": (len(media.pool), "Rows of the pool that are taken"),
        "tasks": (len(asyncio.all_tasks()), "Tasks of the event loop"),
        "load": (media.load, "Share of the last second that ticks took"),
        "recordings": (writer.tracks if writer else 0, "Tracks that are being recorded"),
        "draining": (float(calls.draining), "1 while no call is let in for the bridge is being shut down"),
        "connect_ms": (math.nan if calls.connect_ms is None else calls.connect_ms, "From the last offer to sound"),
    }
    counters = {
        "calls_opened": (calls.opened, "Calls that were let in"),
        "calls_refused": (calls.refused, "Calls that were not"),
        "ticks": (media.ticks, "Ticks of the clock"),
        "ticks_late": (work.late, "Ticks that took longer than a hop"),
        "ticks_skipped": (work.skipped, "Ticks that were left out after a stall"),
        "codec_cpu_seconds": (work.codec_s + work.encoder_s, "Processor time of jitter buffers, codecs and mixing"),
        "network_cpu_seconds": (work.network_s, "Processor time of the network"),
        "reports_delivered": (calls.webhook.delivered if calls.webhook else 0, "Reports that were posted"),
        "reports_failed": (calls.webhook.failed if calls.webhook else 0, "Reports that could not be"),
        "recordings_finished": (writer.finished if writer else 0, "Files of recordings that are whole"),
        "recordings_failed": (writer.failed if writer else 0, "Tracks that could not be recorded to their end"),
        "recordings_bytes": (writer.bytes if writer else 0, "Bytes of finished recordings"),
        "recordings_lost_hops": (writer.lost if writer else 0, "Hops of recordings that a slow disk left out"),
        "transport_cpu_seconds": (calls.transport_s, "Processor time of everything else: HTTP, ICE, SRTP"),
    }
    for name, (value, meaning) in gauges.items():
        yield GaugeMetricFamily(f"rtsr_bridge_{name}", meaning, value=value)
    for name, (value, meaning) in counters.items():
        yield CounterMetricFamily(f"rtsr_bridge_{name}", meaning, value=value)
    family = GaugeMetricFamily("rtsr_bridge_tick_ms", "Time of a tick, last ten seconds", labels=["quantile"])
    for quantile, value in media.tick_ms(0.5, 0.95, 0.99).items():
        family.add_metric([str(quantile)], value)
    yield family
    faults = CounterMetricFamily("rtsr_bridge_faults", "Failures that were survived", labels=["part"])
    for part, count in media.faults.counts.items():
        faults.add_metric([part], count)
    yield faults


def _of_all_calls(calls: Calls) -> Iterator[Any]:
    reports = [call.stats() for call in calls.by_id.values()]
    speakers = [stats["speaker"] for stats in reports if stats["speaker"] is not None]
    bypassed = sum(speaker["bypass"] for speaker in speakers)
    yield GaugeMetricFamily("rtsr_bridge_speakers_bypassed", "Speakers who are heard plain by all", value=bypassed)
    for key, meaning in SPEAKER_GAUGES.items():
        values = [speaker[key] for speaker in speakers]
        family = GaugeMetricFamily(f"rtsr_bridge_speaker_{key}", meaning, labels=["quantile"])
        if values:
            family.add_metric(["0.5"], statistics.median(values))
            family.add_metric(["1.0"], max(values))
        yield family
    for part, known in (("speaker", SPEAKER_COUNTERS), ("listener", LISTENER_COUNTERS)):
        for key, meaning in known.items():
            now = sum(stats[part][key] for stats in reports if stats[part] is not None)
            total = calls.past[f"{part}_{key}"] + now
            yield CounterMetricFamily(f"rtsr_bridge_{part}_{key}", f"{meaning}, of all calls", value=total)


def _of_connections(listener: Listener) -> Iterator[Any]:
    yield GaugeMetricFamily("rtsr_bridge_connections", "HTTP connections now", value=listener.count)
    refused, slow = "HTTP connections for which there was no room", "HTTP connections whose clients took too long"
    yield CounterMetricFamily("rtsr_bridge_connections_refused", refused, value=listener.refused)
    yield CounterMetricFamily("rtsr_bridge_connections_aborted", slow, value=listener.slow)
