"""The published networks that this field starts from, in the shapes that they were published with, for one factor each.

`network(name, factor)` builds one with random weights; `rtsr train --model NAME` trains it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidSetting, UnknownName
from .unet import Baseline, Conv, reach, shuffle, whole


class AudioUNet(Baseline):
    """AudioUNet of Kuleshov, Enam and Ermon 2017 (arXiv 1708.00853), of four or eight blocks.

    Starts from a cubic spline, halves the rate with every block, adds what it finds to the spline. `causal` pads only
    the past: the same work, looking ahead no further than the end of the block of samples (32 or 512) that a sample is
    in, so that it streams by state: `y, state = advance(x, state)` over whole blocks gives what `forward` gives.
    """

    learning_rate = 3e-4
    filters = (128, 384, 512, 512, 512, 512, 512, 512)
    kernels = (65, 33, 17, 9, 9, 9, 9, 9)
    slope = 0.2

    def __init__(self, factor: int = 2, *, blocks: int = 4, causal: bool = False) -> None:
        super().__init__(factor)
        filters, kernels = self.filters[:blocks], self.kernels[:blocks]
        conv = partial(Conv, pad="causal" if causal else "same")
        self.causal, self.multiple = causal, 2 ** (blocks + 1)
        if causal:
            self.starts_from = "short sinc"  # a spline needs the whole signal
        inputs = (1, *filters)
        self.down = nn.ModuleList(conv(a, b, k, 2) for a, b, k in zip(inputs, filters, kernels, strict=False))
        self.bottleneck = conv(filters[-1], filters[-1], kernels[-1], 2)
        inputs = (filters[-1], *(2 * f for f in filters[:0:-1]))
        self.up = nn.ModuleList(conv(a, 2 * f, k) for a, f, k in zip(inputs, filters[::-1], kernels[::-1], strict=True))
        self.last = conv(2 * filters[0], 2, 9)
        self.dropout = nn.Dropout(0.5)
        for part in (*self.down, self.bottleneck, *self.up):
            nn.init.orthogonal_(part.weight)
        nn.init.normal_(self.last.weight, std=1e-3)

    def convs(self) -> list[Conv]:
        """Return every convolution in the order of the path."""
        return [*self.down, self.bottleneck, *self.up, self.last]

    def path(self) -> Sequence[Conv | int]:
        ups = [part for up in (*self.up, self.last) for part in (up, 2)]
        return [*self.down, self.bottleneck, *ups]

    def new_state(self, rows: int = 1) -> list[Tensor]:
        """Return what every convolution has heard before a signal: zeros."""
        return [c.weight.new_zeros(rows, c.in_channels, c.before) for c in self.convs()]

    def forward(self, upsampled: Tensor) -> Tensor:
        return self.advance(upsampled, self.new_state(len(upsampled)))[0]

    def advance(self, upsampled: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Take the next samples, a multiple of `multiple`, and return as many and the new state."""
        past, heard = iter(state), []

        def through(conv: nn.Module, x: Tensor) -> Tensor:
            y, memory = conv.advance(x, next(past))  # type: ignore[operator]
            heard.append(memory)
            return y

        x, skips = upsampled.unsqueeze(1), []
        for down in self.down:
            x = F.leaky_relu(through(down, x), self.slope)
            skips.append(x)
        x = F.leaky_relu(self.dropout(through(self.bottleneck, x)), self.slope)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = torch.cat([shuffle(F.relu(self.dropout(through(up, x)))), skip], dim=1)
        return shuffle(through(self.last, x)).squeeze(1) + upsampled, heard


class UnpaddedUNet(Baseline):
    """Hetherly's deep residual network of 2017 (EnglishSpeechUpsampler): eight unpadded blocks, 8 to 1024 channels.

    Starts from the resampled signal and adds what it finds. Two liberties: skips are cut in the middle, where the
    samples are that they stand beside, and not at their beginning; and as nothing is padded, samples near the ends
    have no output, where the original moved channels into their place.
    """

    starts_from = "sinc"
    channels = (8, 16, 32, 64, 128, 256, 512, 1024)
    multiple = 512

    def __init__(self, factor: int = 4) -> None:
        super().__init__(factor)
        conv = partial(Conv, pad="valid")
        kernels = (5, *[3] * (len(self.channels) - 1))
        inputs = (1, *self.channels)
        self.down = nn.ModuleList(conv(a, b, k, 2) for a, b, k in zip(inputs, self.channels, kernels, strict=False))
        self.bottleneck = conv(1024, 2048, 4, 2)
        outputs = [2 * c for c in self.channels[::-1]]
        self.up = nn.ModuleList(conv(a, b, 3) for a, b in zip((2048, *outputs), outputs, strict=False))
        self.last = conv(2 * self.channels[0], 2, 3)
        widths = (*self.channels, 2048, *outputs)
        self.norms = nn.ModuleList(nn.BatchNorm1d(w, momentum=0.01) for w in widths)
        self.margin = whole(max(reach(self.path())), self.multiple)

    def path(self) -> Sequence[Conv | int]:
        ups = [part for up in (*self.up, self.last) for part in (up, 2)]
        return [*self.down, self.bottleneck, *ups]

    def forward(self, resampled: Tensor) -> Tensor:
        norms = iter(self.norms)
        x, skips = resampled.unsqueeze(1), []
        for down in self.down:
            x = F.relu(next(norms)(down(x)))
            skips.append(x)
        x = F.relu(next(norms)(self.bottleneck(x)))
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = shuffle(F.relu(next(norms)(up(x))))
            x = torch.cat([x, _middle(skip, x.shape[-1])], dim=1)
        x = shuffle(self.last(x)).squeeze(1)
        wanted = resampled.shape[-1] - 2 * self.margin
        return _middle(x, wanted) + self.centre(resampled)


def _middle(x: Tensor, samples: int) -> Tensor:
    if x.shape[-1] < samples or samples <= 0:
        raise InvalidSetting(f"expected more samples than the {x.shape[-1]} that an unpadded network leaves")
    first = (x.shape[-1] - samples) // 2
    return x[..., first : first + samples]


class Inception(nn.Module):
    """Three convolutions of different reach and a maximum beside each other, then a shuffle (Szegedy et al. 2014)."""

    def __init__(self, channels_in: int, filters: int, kernel: int, factor: int) -> None:
        super().__init__()
        branches = [Conv(channels_in, filters, n * kernel) for n in (1, 2, 4)]
        self.branches, self.pads = nn.ModuleList(branches), branches[0].pads
        self.kernel, self.factor = kernel, factor
        together = 3 * filters + channels_in
        self.channels = together // factor

    def forward(self, x: Tensor) -> Tensor:
        highest = F.max_pool1d(F.pad(x, self.pads, value=-torch.inf), self.kernel, 1)
        together = torch.cat([*(branch(x) for branch in self.branches), highest], dim=1)
        return together[:, : self.channels * self.factor]  # a third of the channels may leave one or two over


class UninterpolatedUNet(Baseline):
    """Sut's U-Net of 2022 (Audio-Super-Resolution): works at the received rate, and only its last blocks raise it.

    Five blocks down with batch norm, a bottleneck, six up with stacked skips, the input added, then a block of x2 or
    x3 for each factor that is left, and one number a sample. `inception` makes those last blocks wide in three ways.
    """

    starts_from = "low"
    multiple = 64
    kernel = 32
    slope = 0.3

    def __init__(self, factor: int = 4, *, inception: bool = False) -> None:
        super().__init__(factor)
        k = self.kernel
        filters = (64, 128, 256, 256, 256) if inception else (64, 64, 128, 128, 256)
        ups = (256, 128, 64, 64, 64, 64) if inception else (256, 128, 128, 64, 64, 64)
        self.factors = {2: (2,), 4: (2, 2), 6: (2, 3)}[factor]
        self.down = nn.ModuleList(Conv(a, b, k, 2) for a, b in zip((1, *filters), filters, strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm1d(f) for f in filters)
        self.bottleneck = Conv(filters[-1], 256, k, 2)
        inputs = (256, *(u // 2 + f for u, f in zip(ups, filters[::-1], strict=False)))
        self.up = nn.ModuleList(Conv(a, u, k) for a, u in zip(inputs, ups, strict=True))
        self.raise_rate = nn.ModuleList()
        channels = ups[-1] // 2
        for f in self.factors:
            block = Inception(channels, 64, k, f) if inception else Conv(channels, 32 * f, k)
            channels = block.channels if isinstance(block, Inception) else 32
            self.raise_rate.append(block)
        self.last = Conv(channels, 1, 1)
        self.dropout = nn.Dropout(0.5)
        for part in self.modules():
            if isinstance(part, Conv):
                nn.init.orthogonal_(part.weight)

    def path(self) -> Sequence[Conv | int]:
        ups = [part for up in self.up for part in (up, 2)]
        raises = [
            part
            for block, f in zip(self.raise_rate, self.factors, strict=True)
            for part in (block.branches[-1] if isinstance(block, Inception) else block, f)
        ]
        return [*self.down, self.bottleneck, *ups, *raises, self.last]

    def forward(self, low: Tensor) -> Tensor:
        x, skips = low.unsqueeze(1), []
        for down, norm in zip(self.down, self.norms, strict=True):
            x = F.leaky_relu(norm(down(x)), self.slope)
            skips.append(x)
        x = F.leaky_relu(self.bottleneck(x), self.slope)
        for up in self.up:
            x = shuffle(self.dropout(F.leaky_relu(up(x), self.slope)))
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
        x = x + low.unsqueeze(1)
        for block, factor in zip(self.raise_rate, self.factors, strict=True):
            x = shuffle(self.dropout(F.leaky_relu(block(x), self.slope)), factor)
        return self.last(x).squeeze(1)


NETWORKS: dict[str, Callable[[int], Baseline]] = {
    "audio-unet": AudioUNet,
    "audio-unet-8": partial(AudioUNet, blocks=8),
    "causal-audio-unet": partial(AudioUNet, causal=True),
    "hetherly": UnpaddedUNet,
    "sut": UninterpolatedUNet,
    "sut-inception": partial(UninterpolatedUNet, inception=True),
}


def network(name: str, factor: int) -> Baseline:
    """Build a baseline with random weights; raises `UnknownName`, and `InvalidSetting` for another factor."""
    if name not in NETWORKS:
        raise UnknownName("baseline", name, NETWORKS)
    return NETWORKS[name](factor)
