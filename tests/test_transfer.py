"""A network that starts from one of a lower rate writes the same envelope, up to where that one's ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.signals import noise, voice_like

torch = pytest.importorskip("torch", reason="training needs torch")

from rtsr.errors import InvalidSetting  # noqa: E402
from rtsr.net.model import BandNet, NetConfig  # noqa: E402
from rtsr.net.signal import analyse  # noqa: E402
from rtsr.spec import Spec  # noqa: E402
from rtsr.train.transfer import transfer_weights  # noqa: E402

WIDE = Spec(48_000, hop=240, history=1440, synthesis=480)


@pytest.mark.parametrize("cutoff", [2000.0, 4000.0])
def test_the_envelope_below_the_lower_edge_is_the_same(cutoff):
    torch.manual_seed(0)
    sizes = {"widths": (16, 12, 8), "memory": 8}
    lower, higher = BandNet(NetConfig(**sizes)), BandNet(NetConfig(**sizes, spec=WIDE))
    transfer_weights(higher, lower)
    x = voice_like(0.5) + noise(8000, 1, 1e-3)
    at_48k = np.fft.irfft(np.fft.rfft(x), n=3 * len(x)).astype(np.float32) * 3
    given = torch.full((1, 100), cutoff)
    with torch.no_grad():
        a, _ = lower(analyse(torch.from_numpy(x)[None], lower.config.spec), given, lower.new_state())
        b, _ = higher(analyse(torch.from_numpy(at_48k)[None], WIDE), given, higher.new_state())
    shared = lower.config.spec.bands
    assert a.std() > 0.1
    louder = b[..., :shared] - a - 2 * math.log(3)  # a frame of as many seconds has three times the samples
    assert louder[0, 50:].square().mean().sqrt() < 0.14
    assert torch.equal(b[..., shared:], b[..., shared - 1 : shared].expand(-1, -1, WIDE.bands - shared))


def test_a_network_of_another_shape_is_refused():
    net, other = BandNet(NetConfig(widths=(16, 12, 8), memory=8, spec=WIDE)), BandNet(NetConfig(widths=(16, 8, 8)))
    with pytest.raises(InvalidSetting, match="the same widths"):
        transfer_weights(net, other)
