"""The generated band: as loud as its envelope, of the received band's structure, the same on the host and a device."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtsr.dsp.structure import ENVELOPE_CEILING, NOTHING, PHASES, SILENCE_DBFS, FineStructure, phase_index
from rtsr.spec import Spec
from tests.contracts import oracle
from tests.signals import noise, voice_like

SPEC = Spec()
WIDE = Spec(48_000, hop=240, history=1440, synthesis=480, cutoff_min_hz=3_000.0, cutoff_max_hz=14_000.0)
SPECS = pytest.mark.parametrize("spec", [SPEC, WIDE], ids=["16 kHz", "48 kHz"])
FRAMES = np.array([0, 1, 2, 3, 1000, 2**24, 3 * 2**30, 2**31, 2**32, 2**40])


def bin_hz(spec: Spec) -> float:
    return spec.rate / spec.synthesis


def histories(x: np.ndarray, hop: int) -> np.ndarray:
    """The last two hops of every frame, (frames, 2 * hop)."""
    padded = np.concatenate([np.zeros(hop, np.float32), x.astype(np.float32)])
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop].copy()


def generate(x, envelope, cutoff, spec: Spec = SPEC, rate: int | None = None, stage=None) -> np.ndarray:
    """The generated spectra of a signal, complex (frames, bins_out); one cutoff and envelope, or one a frame."""
    rate = rate or spec.rate
    stage = stage or FineStructure(spec, rate)
    heard = histories(np.asarray(x), spec.hop_at(rate))
    envelopes = np.broadcast_to(np.asarray(envelope, np.float32), (len(heard), spec.bands))
    cutoffs = np.broadcast_to(np.asarray(cutoff, np.float32), len(heard))
    made = [
        stage.push(h[None], np.ascontiguousarray(e[None]), np.array([c], np.float32))[0].copy()
        for h, e, c in zip(heard, envelopes, cutoffs, strict=True)
    ]
    return np.array(made).view(np.complex64)[..., 0]


def hissing(seconds: float, spec: Spec = SPEC, rate: int | None = None, level: float = 0.1) -> np.ndarray:
    return noise(round(seconds * spec.frames_per_s) * spec.hop_at(rate or spec.rate), 5, level)


@SPECS
@pytest.mark.parametrize("narrow", [False, True])
def test_it_is_what_the_documents_define(spec, narrow):
    """Frame by frame: of every loudness, envelope and cutoff, at the model's rate and at half of it."""
    rng, rate = np.random.default_rng(2), spec.rate // 2 if narrow else spec.rate
    x = hissing(0.15, spec, rate) * np.repeat(10 ** rng.uniform(-5.5, 0, 30), spec.hop_at(rate)).astype(np.float32)
    envelope = rng.uniform(-6, 3, (30, spec.bands)).astype(np.float32)
    envelope[::7], envelope[3::7] = np.linspace(-70, -50, spec.bands), np.linspace(8, 12, spec.bands)
    cutoff = rng.uniform(spec.cutoff_min_hz, spec.rate / 2 + 100, 30).astype(np.float32)
    cutoff[::5] = 40 * bin_hz(spec)
    expected = oracle.generate(oracle.short_spectra(x, spec, rate), envelope, cutoff, spec)
    made = generate(x, envelope, cutoff, spec, rate)
    size = np.abs(expected).max(1, keepdims=True)
    assert np.count_nonzero(size > 1e-3) > 20
    assert (np.abs(made - expected) <= 1e-5 * size).all()


@SPECS
def test_nothing_comes_of_exact_silence(spec):
    assert not generate(np.zeros(20 * spec.hop), 5.0, 4000.0, spec).any()


@SPECS
def test_nothing_comes_of_an_envelope_of_nothing(spec):
    assert not generate(hissing(0.1, spec), NOTHING, 4000.0, spec).any()


@SPECS
@pytest.mark.parametrize("cutoff", [3200.0, 3333.3, 4000.0, 6450.0])
def test_nothing_lies_below_the_cutoff_and_something_in_every_bin_above(spec, cutoff):
    made = generate(hissing(0.1, spec), 0.0, cutoff, spec)
    edge = int(cutoff / bin_hz(spec))
    assert not made[:, :edge].any()
    assert np.abs(made[:, edge:]).max(0).min() > 1e-2


def test_a_bin_that_the_cutoff_divides_is_generated_in_part():
    whole, part = (np.abs(generate(hissing(2.0), 0.0, hz)[:, 40]).mean() for hz in (4000.0, 4075.0))
    assert part / whole == pytest.approx(0.25, rel=0.1)


@SPECS
@pytest.mark.parametrize("cutoff", [3200.0, 4000.0, 6450.0])
def test_every_band_is_as_loud_as_its_envelope(spec, cutoff):
    """Within 1 dB on average over frames of noise, whatever its level: a frame's bands are normalised one by one."""
    envelope = np.linspace(2, -4, spec.bands)
    share, mean = oracle.triangles(spec)
    whole = ~mean[: int(cutoff / bin_hz(spec)) + 1].any(0)
    assert whole.any()
    expected = np.exp(share @ envelope) @ mean
    for level in (0.1, 1e-3):
        made = generate(hissing(4.0, spec, level=level), envelope, cutoff, spec)
        power = np.mean(np.abs(made) ** 2, axis=0) @ mean
        error_db = 10 * np.log10(power[whole] / expected[whole])
        assert np.abs(error_db).max() < 1.0, error_db


def test_quiet_frames_fade_at_least_as_fast_as_their_power_and_others_do_not():
    x = hissing(0.5, level=1.0)
    power = np.mean(np.sum(np.abs(oracle.short_spectra(x, SPEC, 16000)) ** 2, axis=1))
    silence = 10 ** (SILENCE_DBFS / 10) * (SPEC.synthesis / 2) ** 2
    loud, less, at_20, at_40 = (
        np.abs(generate(x * np.sqrt(silence / power * 10 ** (db / 10)), 0.0, 4000.0)[2:]).mean()
        for db in (60, 20, -20, -40)
    )
    assert less / loud == pytest.approx(1, rel=0.05)
    assert 1e-3 < at_20 / loud < 1.1e-2
    assert 1e-5 < at_40 / loud < 1.1e-4


def test_no_envelope_is_louder_than_the_ceiling():
    loud, louder = (generate(hissing(0.5), level, 2000.0) for level in (ENVELOPE_CEILING, 80.0))
    np.testing.assert_array_equal(loud, louder)
    assert np.mean(np.abs(loud[:, 25:]) ** 2) == pytest.approx(math.exp(ENVELOPE_CEILING), rel=0.3)


def copies(x: np.ndarray, envelope: np.ndarray, cutoff: float, spec: Spec) -> np.ndarray:
    """The copies alone, (samples,): the noise does not depend on what was received, so that a difference has none."""
    made = generate(x, envelope, cutoff, spec) - generate(-x, envelope, cutoff, spec)
    return oracle.overlap_add(made / 2, spec)


@SPECS
@pytest.mark.parametrize("edge", [38, 39, 40, 41, 42])
@pytest.mark.parametrize("offset_hz", [0.0, 37.0])
def test_a_sine_goes_on_as_a_sine_at_the_shifted_frequency(spec, edge, offset_hz):
    """Side lobes stay 40 dB under it over 2 s, for even and odd shifts: the copies have no seam between hops.

    The envelope is that of the copies themselves, so that nothing but the shift is heard.
    """
    width, start = edge - edge // 2, edge // 2
    source_hz = (start + width // 2) * bin_hz(spec) + offset_hz
    time = np.arange(round(2.4 * spec.frames_per_s) * spec.hop) / spec.rate
    x = 0.3 * np.sin(2 * np.pi * source_hz * time)
    heard = oracle.short_spectra(x, spec, spec.rate)
    origin = np.concatenate([np.arange(edge), np.resize(np.arange(start, edge), spec.bins_out - edge)])
    envelope = np.log(np.abs(heard[:, origin]) ** 2 @ oracle.triangles(spec)[1] + 1e-9)
    y = copies(x, envelope, edge * bin_hz(spec), spec)[-2 * spec.rate :]
    level = 20 * np.log10(np.abs(np.fft.rfft(y * np.blackman(len(y)))) + 1e-12)
    hz = np.fft.rfftfreq(len(y), 1 / spec.rate)
    shifted_hz = source_hz + width * bin_hz(spec)
    patch = (hz >= edge * bin_hz(spec)) & (hz < (edge + width) * bin_hz(spec))
    near = np.abs(hz - shifted_hz) < 3
    assert abs(hz[patch][np.argmax(level[patch])] - shifted_hz) < 0.6
    assert level[patch & ~near].max() - level[near].max() < -40


@SPECS
def test_a_cutoff_that_moves_makes_no_click(spec):
    """The largest step between samples near the move is at most twice that of what is generated around it."""
    x = voice_like(2.0, spec.rate) + noise(2 * spec.rate, 1, 1e-2)
    low, high = 3200.0, 4300.0
    moves = np.arange(100, 360, 40)
    for frame in moves:
        cutoff = np.where(np.arange(len(x) // spec.hop) < frame, high, low)
        y = oracle.overlap_add(generate(x, np.linspace(1, -2, spec.bands), cutoff, spec), spec)
        step = np.abs(np.diff(y))
        at = frame * spec.hop
        around = step[at - 20 * spec.hop : at + 20 * spec.hop]
        beside = np.concatenate([around[: 18 * spec.hop], around[22 * spec.hop :]])
        assert around.max() <= 2 * beside.max()
        assert beside.max() > 1e-3


@SPECS
@pytest.mark.parametrize("rate", [4000, 8000, 16000, 48000])
def test_every_cutoff_works_above_half_of_the_inputs_rate_too(spec, rate):
    x = hissing(0.05, spec, rate)
    lowest, highest = (1200.0, 6500.0) if spec is SPEC else (3000.0, 14000.0)
    for cutoff in [*np.linspace(lowest, highest, 40), spec.cutoff_min_hz, spec.cutoff_max_hz]:
        made = generate(x, 0.0, cutoff, spec, rate)
        assert np.isfinite(made).all()
        assert np.abs(made[:, int(cutoff / bin_hz(spec)) :]).max() > 0.1
    for beyond in (spec.rate / 2 + bin_hz(spec), 2.0 * spec.rate):
        assert not generate(x, 0.0, beyond, spec, rate).any()


def test_a_cleared_row_gives_the_same_bits_and_another_row_goes_on():
    stage, x = FineStructure(SPEC, SPEC.rate), hissing(0.1)
    first = generate(x, 0.0, 4000.0, stage=stage)
    later = generate(x, 0.0, 4000.0, stage=stage)
    assert np.abs(later - first).max() > 1e-2
    stage.clear(0)
    np.testing.assert_array_equal(generate(x, 0.0, 4000.0, stage=stage), first)


def test_rows_count_for_themselves_stand_still_and_move():
    heard = histories(hissing(0.2), SPEC.hop)
    three = FineStructure(SPEC, SPEC.rate, 3)
    envelopes, cutoffs = np.zeros((3, SPEC.bands), np.float32), np.array([2000, 3000, 4000], np.float32)
    for n in range(20):
        active = np.array([True, n % 2 == 0, n < 5])
        before = three.generated[~active].copy()
        three.push(np.repeat(heard[n : n + 1], 3, axis=0), envelopes, cutoffs, active)
        np.testing.assert_array_equal(three.generated[~active], before)
    assert three.counter.tolist() == [20, 10, 5]
    three.move(1, 0)
    assert three.counter.tolist() == [10, 10, 5]
    together = three.push(np.repeat(heard[20:21], 3, axis=0), envelopes, np.full(3, 3000, np.float32))
    np.testing.assert_array_equal(together[0], together[1])
    assert np.abs(together[0] - together[2]).max() > 1e-2


def test_the_noise_is_that_of_the_documented_hash_and_takes_every_phase_alike():
    bins = np.arange(WIDE.bins_out)
    expected = oracle.noise_phases(FRAMES, WIDE.bins_out)
    got = np.array([[phase_index(int(f), int(k)) for k in bins] for f in FRAMES])
    np.testing.assert_array_equal(2 * np.pi * got / PHASES, expected)
    many = np.array([[phase_index(f, k) for k in range(81)] for f in range(1000)])
    share = np.bincount(many.ravel(), minlength=PHASES) / many.size * PHASES
    assert 0.7 < share.min() < share.max() < 1.3
    assert np.abs(np.mean(np.exp(2j * np.pi * (many[1:] - many[:-1]) / PHASES), axis=0)).max() < 0.15


def test_torch_has_the_same_noise():
    torch = pytest.importorskip("torch")
    from rtsr.net import structure

    got = structure.phase_index(torch.from_numpy(FRAMES)[:, None], torch.arange(WIDE.bins_out))
    np.testing.assert_array_equal(2 * np.pi * got.numpy() / PHASES, oracle.noise_phases(FRAMES, WIDE.bins_out))


@SPECS
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_torch_generates_what_the_host_generates(spec, rate):
    torch = pytest.importorskip("torch")
    from rtsr.dsp.windows import synthesis_window
    from rtsr.net.structure import Structure

    rng, hop = np.random.default_rng(1), spec.hop_at(rate)
    heard = histories(hissing(0.5, spec, rate) * np.repeat(10 ** rng.uniform(-5, 0, 100), hop), hop)
    envelope = rng.uniform(-6, 3, (len(heard), spec.bands)).astype(np.float32)
    envelope[::7] = NOTHING
    cutoff = rng.uniform(1000, spec.rate / 2 + 500, len(heard)).astype(np.float32)
    cutoff[::5] = np.round(cutoff[::5], -2)
    host = FineStructure(spec, rate, len(heard))
    host.counter[:] = rng.integers(0, 2**33, len(heard))
    counter = torch.from_numpy(host.counter.copy())
    expected = host.push(heard, envelope, cutoff).copy()
    window = torch.from_numpy(synthesis_window(spec, rate) * np.float32(spec.rate / rate))
    short = torch.view_as_real(torch.fft.rfft(torch.from_numpy(heard) * window))[:, : spec.bins_out]
    got = Structure(spec).generate(short, torch.from_numpy(envelope), torch.from_numpy(cutoff), counter).numpy()
    size = np.abs(expected).max((1, 2), keepdims=True)
    assert np.count_nonzero(size > 1e-3) > 50
    assert (np.abs(got - expected) <= 1e-5 * size).all()


def test_torch_measures_the_bands_that_the_documents_define():
    torch = pytest.importorskip("torch")
    from rtsr.net.structure import Structure

    x = hissing(0.1)
    structure = Structure(SPEC)
    short = structure.short_spectra(torch.from_numpy(x)[None])[0]
    expected = oracle.short_spectra(x, SPEC, SPEC.rate)
    np.testing.assert_allclose(short.numpy(), expected, atol=1e-5)
    powers = structure.band_powers(short.abs().square()).numpy()
    np.testing.assert_allclose(powers, np.abs(expected) ** 2 @ oracle.triangles(SPEC)[1], rtol=1e-4)
