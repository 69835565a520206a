"""The sizes of a model follow from each other, and those that do not fit are refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from rtsr.errors import InvalidSetting
from rtsr.spec import Spec


def test_the_sizes_of_the_shipped_path():
    spec = Spec()
    assert (spec.frames_per_s, spec.hop_ms) == (200, 5)
    assert (spec.bins_in, spec.bins_out) == (241, 81)
    assert spec.overlap == 80
    assert spec.latency == 160  # ten milliseconds


@pytest.mark.parametrize(("rate", "hop"), [(4000, 20), (8000, 40), (16000, 80), (32000, 160), (48000, 240)])
def test_a_hop_lasts_as_long_at_every_rate(rate, hop):
    assert Spec().hop_at(rate) == hop
    assert Spec().history_at(rate) == 6 * hop


@pytest.mark.parametrize("rate", [0, -16000, 44100, 22050, 11025, 8100, 199])
def test_a_rate_without_a_whole_hop_is_refused_with_the_way_out(rate):
    with pytest.raises(InvalidSetting, match=r"multiple of 200 Hz.*rtsr\.Reblock"):
        Spec().hop_at(rate)


@pytest.mark.parametrize(
    "sizes",
    [
        {"synthesis": 161},
        {"synthesis": 80},
        {"history": 470},
        {"hop": 100},
        {"rate": 16_001},
        {"hop": 0, "synthesis": 0},
        {"hop": -80, "synthesis": -160},
        {"history": 0},
        {"rate": 0},
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(InvalidSetting, match="expected"):
        Spec(**sizes)


def test_another_model_may_have_other_sizes():
    spec = Spec(rate=48_000, hop=240, history=1440, synthesis=480)
    assert (spec.frames_per_s, spec.bins_in, spec.bins_out, spec.latency) == (200, 721, 241, 480)


def test_a_spec_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Spec().rate = 8000  # type: ignore[misc]
