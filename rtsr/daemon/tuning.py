"""A tuning hint where underruns are frequent: which setting to raise."""

from __future__ import annotations

WINDOW_S = 60.0
OFTEN = 5  # in a window
QUIET_S = 3600.0  # between two hints


class TuningHint:
    """Watches counters that only grow; `look` is one thread's, and allocates nothing that stays."""

    def __init__(self, low_water_ms: float, block_ms: float) -> None:
        self.low_water_ms, self.block_ms = low_water_ms, block_ms
        self._since_s, self._quiet_until_s, self._ring, self._device = 0.0, 0.0, 0, 0

    def look(self, now_s: float, ring: int, device: int) -> str | None:
        """Take how often the ring and the devices ran dry until now; returns one line where that was frequent."""
        if now_s < self._since_s + WINDOW_S:
            return None
        by_ring, by_device = ring - self._ring, device - self._device
        self._since_s, self._ring, self._device = now_s, ring, device
        if by_ring + by_device < OFTEN or now_s < self._quiet_until_s:
            return None
        self._quiet_until_s = now_s + QUIET_S
        hints = [f"--low-water {2 * self.low_water_ms:g}"] if by_ring else []
        hints += [f"block_ms = {2 * self.block_ms:g} in the settings"] if by_device else []
        times = by_ring + by_device
        return f"{times} underruns in a minute: {' and '.join(hints)} would prevent most, at more latency"
