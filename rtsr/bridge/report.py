"""What is reported of a call when it ends, and while it lasts. The event loop's."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from .call import Call, History
from .codec import CODECS
from .emodel import transport_mos
from .leg import Speaker


def report_of(call: Call, why: str | None = None) -> dict[str, Any]:
    """Return the report of a call: plain numbers, None where nothing was measured. `why` says why it has ended."""
    leg, speaker = call.leg, call.leg.speaker
    round_trip_ms = call.round_trip_ms
    return {
        "event": "report",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "call": call.id,
        "room": leg.room,
        "kind": call.kind,
        "name": leg.name,
        "ended": why,
        "duration_s": round(time.monotonic() - call.began_s, 1),
        "codec_in": speaker.codec if speaker else None,
        "codec_out": leg.codec if leg.deliver else None,
        "round_trip_ms": _rounded(round_trip_ms),
        **_heard(speaker, call.history, round_trip_ms),
        "events": leg.events.count,
        "recording": leg.recording.stats() if leg.recording else None,
    }


def _heard(speaker: Speaker | None, history: History, round_trip_ms: float | None) -> dict[str, Any]:
    """What is reported of the voice of a call."""
    names = ("delay_ms", "delay_max_ms", "jitter_ms", "jitter_max_ms", "received", "lost", "recovered", "loss_share")
    more = ("concealed_share", "mos", "enhanced_s", "cutoff_hz")
    if speaker is None:
        return dict.fromkeys((*names, *more))
    counts, n = speaker.playout.counts, history.samples
    expected = counts.received - counts.late + counts.lost
    loss = counts.lost / expected if expected > 0 else None
    delay_ms = history.delay_ms / n if n else None
    one_way_ms = None
    if delay_ms is not None and round_trip_ms is not None:
        one_way_ms = round_trip_ms / 2 + delay_ms + speaker.playout.packet_ms
    values = (
        _rounded(delay_ms),
        _rounded(history.most_delay_ms if n else None),
        _rounded(history.jitter_ms / n if n else None),
        _rounded(history.most_jitter_ms if n else None),
        counts.received,
        counts.lost,
        counts.recovered,
        _rounded(loss, 4),
        _rounded(counts.concealed_hops / speaker.hops if speaker.hops else None, 4),
        _rounded(transport_mos(CODECS[speaker.codec].e_model, loss, one_way_ms), 2),
        round(speaker.enhanced_s, 1),
        None if speaker.cutoff_hz is None else round(speaker.cutoff_hz),
    )
    return dict(zip((*names, *more), values, strict=True))


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
