"""Weight transfer: the start of a network of a higher rate from one of a lower rate."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import InvalidSetting
from ..net.model import BandNet


@torch.no_grad()
def transfer_weights(net: BandNet, lower: BandNet) -> None:
    """Copy the weights of `lower` into `net`, so that below half of the lower rate both generate the same band.

    Frames of both last equally long, so that bin k is the same frequency in either; only its size differs, by the ratio
    of the rates. All layers between the first and the last one are copied. A band above the lower rate's starts as loud
    as the highest one below it. Raises `InvalidSetting` for networks of other widths or depths.
    """
    if replace(lower.config, spec=net.config.spec) != net.config:
        raise InvalidSetting(f"expected a network of the same widths and depths to start from, got {lower.config}")
    mine, theirs = net.config.spec, lower.config.spec
    for name, source in lower.state_dict().items():
        if not name.startswith(("enter", "leave")):
            net.get_parameter(name).copy_(source)
    louder = 2 * math.log(mine.rate / theirs.rate) / 6  # in the first layer's measure of log power
    powers = lower.enter.weight[:, : theirs.bins_in]
    missing = lower.enter.weight[:, 3 * theirs.bins_in :].clone()
    missing += louder * _by_written_bin(powers, theirs.bins_out)  # what the bias takes away is undone where it is 1
    net.enter.weight.zero_()
    net.enter.weight[:, : theirs.bins_in] = powers
    net.enter.weight[:, mine.bins_in : mine.bins_in + 2 * theirs.bins_in] = lower.enter.weight[
        :, theirs.bins_in : 3 * theirs.bins_in
    ]
    net.enter.weight[:, 3 * mine.bins_in : 3 * mine.bins_in + theirs.bins_out] = missing
    net.enter.bias.copy_(lower.enter.bias - louder * powers.sum(1))
    shared = theirs.bands
    for own, other in ((net.leave.weight, lower.leave.weight), (net.leave.bias, lower.leave.bias)):
        own[:shared] = other
        own[shared:] = other[-1]
    net.leave.bias.add_(2 * math.log(mine.rate / theirs.rate))


def _by_written_bin(powers: Tensor, bins: int) -> Tensor:
    """Sum the columns from each of the coarser bins of the written spectrum up to the next."""
    finer = (powers.shape[1] - 1) // (bins - 1)
    return torch.cat([powers[:, :-1].unflatten(1, (bins - 1, finer)).sum(2), powers[:, -1:]], dim=1)
