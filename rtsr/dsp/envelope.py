"""The frequency bands in which the network says how loud the generated band is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..spec import LOWEST_BAND_HZ, Spec, erb_rate
from .windows import FloatArray


@dataclass(frozen=True, slots=True)
class Bands:
    """Overlapping triangular bands, one equivalent rectangular bandwidth apart, over the bins of a generated frame.

    Bin k lies between the centres of the bands `lower[k]` and `lower[k] + 1`, at `fraction[k]` of the way on the
    ERB-rate scale; above the highest centre it belongs to the highest band alone. `weight[b]` is 1 over the sum of
    band b's triangle, so that a band's power is a mean over its bins. `first_bin` is where the lowest band begins.
    Models of all rates share the centres, so that band b is the same frequency in each.
    """

    count: int
    first_bin: int
    lower: NDArray[np.int32]  # (bins_out,)
    fraction: FloatArray  # (bins_out,)
    weight: FloatArray  # (count,)

    @classmethod
    def of(cls, spec: Spec, below: int = 0) -> Bands:
        """Return the bands of a model's generated frames, and so many more under the lowest one."""
        count = spec.bands + below
        bins_hz = np.linspace(0, spec.rate / 2, spec.bins_out)
        rate = np.array([erb_rate(hz) - erb_rate(LOWEST_BAND_HZ) for hz in bins_hz]) + below
        place = np.clip(rate, 0, count - 1)
        lower = np.minimum(place.astype(np.int32), count - 2)
        fraction = place - lower
        inside = rate > -1
        sums = np.zeros(count)
        np.add.at(sums, lower[inside], 1 - fraction[inside])
        np.add.at(sums, lower[inside] + 1, fraction[inside])
        weight = (1 / sums).astype(np.float32)
        return cls(count, int(np.argmax(inside)), lower, fraction.astype(np.float32), weight)
