"""The published network that this field starts from, in the shapes it was published with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FILTERS, KERNELS = (128, 384, 512, 512), (65, 33, 17, 9)
BOTTLENECK_FILTERS, BOTTLENECK_KERNEL, LAST_KERNEL = 512, 9, 9
SLOPE, DROPOUT = 0.2, 0.5
STRIDE = 2


def shuffle(x: Tensor) -> Tensor:
    """Halve the channels and double the samples: (rows, 2 channels, samples) to (rows, channels, 2 samples)."""
    rows, channels, samples = x.shape
    return x.view(rows, STRIDE, channels // STRIDE, samples).permute(0, 2, 3, 1).reshape(rows, channels // STRIDE, -1)


class PaddedConv(nn.Conv1d):
    """A convolution that keeps the length (over its stride), padded on both sides or, if causal, on the left."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, *, causal: bool) -> None:
        super().__init__(channels_in, channels_out, kernel, stride)
        left = kernel - stride if causal else (kernel - stride) // 2
        self.pads = (left, kernel - stride - left)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pads))


class AudioUNet(nn.Module):
    """AudioUNet of Kuleshov, Enam and Ermon 2017 (arXiv 1708.00853): a U-Net over samples at the output rate.

    (rows, samples) to the same shape; samples a multiple of 32. Its input has been brought to the output rate by a
    cubic spline, and its output is added to that. `causal` pads only the past: the same work, looking ahead no
    further than the end of the block of 32 samples that a sample is in.
    """

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        channels = (1, *FILTERS)
        self.down = nn.ModuleList(
            PaddedConv(a, b, k, STRIDE, causal=causal) for a, b, k in zip(channels, FILTERS, KERNELS, strict=False)
        )
        self.bottleneck = PaddedConv(FILTERS[-1], BOTTLENECK_FILTERS, BOTTLENECK_KERNEL, STRIDE, causal=causal)
        inputs = (BOTTLENECK_FILTERS, *(2 * f for f in FILTERS[:0:-1]))
        self.up = nn.ModuleList(
            PaddedConv(a, 2 * f, k, causal=causal) for a, f, k in zip(inputs, FILTERS[::-1], KERNELS[::-1], strict=True)
        )
        self.last = PaddedConv(2 * FILTERS[0], STRIDE, LAST_KERNEL, causal=causal)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, upsampled: Tensor) -> Tensor:
        x, skips = upsampled.unsqueeze(1), []
        for down in self.down:
            x = F.leaky_relu(down(x), SLOPE)
            skips.append(x)
        x = F.leaky_relu(self.dropout(self.bottleneck(x)), SLOPE)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = torch.cat([shuffle(F.relu(self.dropout(up(x)))), skip], dim=1)
        return shuffle(self.last(x)).squeeze(1) + upsampled

    def macs(self, samples: int) -> int:
        """Multiplications and additions for so many samples: one a weight for each place that it is applied at."""
        places, total = samples, 0
        for down in (*self.down, self.bottleneck):
            places //= STRIDE
            total += places * down.weight.numel()
        for up in (*self.up, self.last):
            total += places * up.weight.numel()
            places *= STRIDE
        return total
