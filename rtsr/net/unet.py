"""What U-Nets over samples share: convolutions with state, sub-pixel shuffles, and whole signals in pieces."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidSetting

FACTORS = (2, 4, 6)
PIECE = 2**15  # input samples that `restore` takes at once, beside their surroundings


def shuffle(x: Tensor, factor: int = 2) -> Tensor:
    """Trade channels for samples: (rows, factor * channels, samples) to (rows, channels, factor * samples).

    Source: Shi et al. 2016 (arXiv 1609.05158), in one dimension.
    """
    rows, channels, samples = x.shape
    return x.view(rows, factor, channels // factor, samples).permute(0, 2, 3, 1).reshape(rows, channels // factor, -1)


class Conv(nn.Conv1d):
    """A convolution that is given what came before its input and returns what comes before its next one.

    It keeps the length (over its stride): "same" puts zeros on both sides, "causal" all of them on the left, where the
    past can stand instead. "valid" has none and shortens; `before` and `after` say what an output depends on.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, *, pad: str = "same") -> None:
        super().__init__(channels_in, channels_out, kernel, stride)
        self.before = kernel - stride if pad == "causal" else (kernel - stride) // 2
        self.after = kernel - 1 - self.before
        self.pads = (0, 0) if pad == "valid" else (self.before, kernel - stride - self.before)

    def advance(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Take the next samples and the ones before them, (rows, channels, before)."""
        seen = torch.cat([past, x], dim=-1)
        return super().forward(F.pad(seen, (0, self.pads[1]))), seen[..., seen.shape[-1] - self.before :]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pads))


def reach(path: Iterable[Conv | int]) -> tuple[float, float]:
    """How many input samples before and after its own an output sample may depend on, along the deepest path.

    A number in the path is a shuffle by that factor.
    """
    before = after = 0.0
    step = 1.0
    for part in path:
        if isinstance(part, int):
            step /= part
            before += (part - 1) * step
        else:
            before += part.before * step
            after += part.after * step
            step *= part.stride[0]
    return before, after


def whole(length: float, multiple: int) -> int:
    """Return the least multiple that is as long."""
    return -(-int(-(-length // 1)) // multiple) * multiple


class Baseline(nn.Module):
    """A network of others for one factor: how it is fed and was trained, and whole signals piece by piece.

    It takes (rows, samples) of what it `starts_from`: the received samples ("low"), or those brought to the output rate
    by a cubic "spline", a "sinc", or a "short sinc" of 5 ms, as a stream has to. `restore` takes whole signals of any
    length; `forward` takes sizes that fit, for training, and returns what `centre` cuts from a target.
    """

    starts_from = "spline"
    learning_rate = 1e-4
    multiple = 1  # of which the number of input samples has to be one
    margin = 0  # input samples at either end for which there is no output

    def __init__(self, factor: int) -> None:
        super().__init__()
        if factor not in FACTORS:
            raise InvalidSetting(f"expected a factor of {', '.join(map(str, FACTORS))}, got {factor}")
        self.factor = factor

    @property
    def step(self) -> int:
        """Output samples for an input sample."""
        return self.factor if self.starts_from == "low" else 1

    def path(self) -> Sequence[Conv | int]:
        """The deepest way through the network, for `reach`."""
        raise NotImplementedError

    def look_ahead(self) -> float:
        """Input samples after its own that an output sample waits for, beside the interpolation."""
        return reach(self.path())[1]

    def fits(self, samples: int) -> int:
        """Return the least input that leaves so many output samples or more to learn from."""
        return whole(samples / self.step, self.multiple) + 2 * self.margin

    def centre(self, target: Tensor) -> Tensor:
        """Return the part of a target (rows, samples at the output rate) that `forward` has an output for."""
        cut = self.margin * self.step
        return target[..., cut : target.shape[-1] - cut]

    @torch.no_grad()
    def restore(self, x: Tensor, piece: int = PIECE) -> Tensor:
        """Return whole signals (rows, samples * step), as if all of them was one call with zeros around it."""
        size = piece // self.multiple * self.multiple
        beside = self.margin or whole(max(reach(self.path())), self.multiple)
        samples = x.shape[-1]
        padded = F.pad(x, (beside, beside + -samples % self.multiple))
        parts = []
        for start in range(0, samples, size):
            part = padded[..., start : start + size + 2 * beside]
            cut = (beside - self.margin) * self.step
            parts.append(self(part)[..., cut : cut + size * self.step])
        return torch.cat(parts, dim=-1)[..., : samples * self.step]


def macs_per_sample(net: Baseline) -> float:
    """Multiplications and additions of the convolutions for a sample of output; nothing is computed."""
    from torch.utils.flop_counter import FlopCounterMode

    plan = copy.deepcopy(net).to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        out = plan(torch.zeros(1, net.fits(2**15), device="meta"))
    return counter.get_total_flops() / 2 / out.shape[-1]
