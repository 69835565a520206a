"""The E-model for narrowband connections (ITU-T G.107): what the transport contributes, defaults for all else."""

from __future__ import annotations

import math

BASIC = 93.2  # R with all defaults of G.107 (table 2): Ro less Is
FREE_DELAY_MS = 100.0  # up to which a delay costs nothing


def delay_impairment(one_way_ms: float) -> float:
    """Return Idd, the impairment by absolute delay (G.107, equation 7-27)."""
    if one_way_ms <= FREE_DELAY_MS:
        return 0.0
    x = math.log2(one_way_ms / FREE_DELAY_MS)
    return 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)


def loss_impairment(impairment: float, robustness: float, loss: float) -> float:
    """Return Ie,eff of a codec with Ie and Bpl at a share of lost packets, lost at random (G.107, equation 7-29)."""
    percent = 100 * loss
    return impairment + (95 - impairment) * percent / (percent + robustness)


def mos(rating: float) -> float:
    """Return the estimated mean opinion score of a transmission rating R (G.107, annex B)."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6


def transport_mos(codec: tuple[float, float] | None, loss: float | None, one_way_ms: float | None) -> float | None:
    """Return the MOS of a connection; None where something was not measured, or the codec has no figures in G.113.

    `codec` holds Ie and Bpl.
    """
    if codec is None or loss is None or one_way_ms is None:
        return None
    return mos(BASIC - delay_impairment(one_way_ms) - loss_impairment(*codec, loss))
