"""Triton's kernels against their torch form: on a card where there is one, else under Triton's interpreter."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtsr import Pool
from rtsr.dsp.band import CLICK, CUTOFF, STATE
from rtsr.net.weights import Weights
from tests.contracts import oracle
from tests.contracts.test_rows import frames
from tests.signals import noise, voice_like

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from rtsr.backend.graph import GraphBackend  # noqa: E402
from rtsr.net import fused_net, fused_path  # noqa: E402
from rtsr.net.device_path import CutoffTracker, DevicePath  # noqa: E402
from rtsr.net.fused_path import FusedPath  # noqa: E402

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BOUND = 1e-4
ROWS = 19  # more than a block of 16, and no multiple of any


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """The interpreter's time goes by the number of tiles, not by their size."""
    if DEVICE.type == "cpu":
        monkeypatch.setattr(fused_net, "DEPTH", 128)
        monkeypatch.setattr(fused_net, "ENTERED", 128)
        monkeypatch.setattr(fused_path, "DEPTH", 128)
        monkeypatch.setattr(fused_path, "HEAR_COLUMNS", 512)
        monkeypatch.setattr(fused_path, "HEAR_DEPTH", 128)
        monkeypatch.setattr(fused_path, "TRACKED", 64)


def fused(model_path, precision: str = "float32") -> GraphBackend:
    model = GraphBackend(Weights.find(model_path), str(DEVICE), precision, fuse=True)
    assert model.fused is not None
    return model


@torch.inference_mode()
def copied(state, other) -> None:
    """Give a state what another remembers."""
    for name, ring in other.rings.items():
        state.rings[name].copy_(ring)
    state.memory.copy_(other.memory)
    state.heard.copy_(other.heard)


@pytest.mark.parametrize(("precision", "bound", "steps"), [("float32", BOUND, 2), ("bfloat16", 0.02, 1)])
def test_the_network_agrees_with_its_torch_form(model_path, precision, bound, steps):
    plain, kernels = GraphBackend(Weights.find(model_path), "cpu", fuse=False), fused(model_path, precision)
    rng = np.random.default_rng(3)
    heard, cutoff = frames(plain, ROWS, 50 + steps)
    states = plain.new_state(ROWS), kernels.new_state(ROWS)
    out = np.zeros((2, ROWS, plain.spec.bands), np.float32)
    for spectrum in heard[:50]:
        plain.step(spectrum, cutoff, states[0], out[0], rng.random(ROWS) < 0.9)
    copied(states[1], states[0])
    for spectrum in heard[50:]:
        active = rng.random(ROWS) < 0.8
        for model, state, into in zip((plain, kernels), states, out, strict=True):
            into[:] = np.nan
            model.step(spectrum, cutoff, state, into, active)
        assert not out[1][~active].any()
        assert np.linalg.norm(out[1] - out[0]) <= bound * np.linalg.norm(out[0])
    difference = (states[1].memory.cpu() - states[0].memory).abs().max()
    assert difference <= bound * states[0].memory.abs().max()
    assert torch.equal(states[1].heard.cpu(), states[0].heard)


def adopt(path: FusedPath, plain: DevicePath) -> None:
    """Give a path what another remembers."""
    pairs = [(path.counter, plain.counter), (path.held, plain.held), (path.gain_now, plain.gain_now)]
    tracked = ("smoothed", "before", "held", "known")
    pairs += [(getattr(path.tracker, name), getattr(plain.tracker, name)) for name in tracked]
    if path.wet_resampler:
        pairs.append((path.wet_resampler.past, plain.wet_resampler.past))
    for mine, other in pairs:
        mine.copy_(other)
    hop, slots = path.hearing.hop, path.hearing.samples // path.hearing.hop
    for row, count in enumerate(plain.counter.tolist()):
        for slot in range(slots):
            at = (slot - count) % slots
            path.history[row, slot * hop :][:hop] = plain.history[row, at * hop :][:hop]


@pytest.mark.parametrize(("rate", "rate_out"), [(8000, 16000), (48000, 48000)])
@torch.inference_mode()
def test_the_path_agrees_with_its_torch_form(model_path, rate, rate_out):
    spec, rng = Weights.find(model_path).spec, torch.Generator().manual_seed(rate)
    plain = DevicePath(spec, rate, rate_out, ROWS, torch.device("cpu"))
    kernels = FusedPath(spec, rate, rate_out, ROWS, DEVICE)
    fixed = torch.linspace(1000, 8000, ROWS)
    fixed[::3] = math.nan
    gain, hop = torch.rand(ROWS, generator=rng, dtype=torch.float64), spec.hop_at(rate)
    voices = torch.from_numpy(
        np.stack([voice_like(0.25, rate, seed=r) + noise(rate // 4, r, 1e-3) for r in range(ROWS)])
    )
    plain.clear(torch.arange(ROWS), gain)
    worst = 0.0
    for i in range(50):
        hops, active = voices[:, i * hop :][:, :hop].clone(), torch.rand(ROWS, 1, generator=rng) < 0.8
        hops[i % ROWS, :2] = torch.tensor([math.nan, 1e9])
        envelope = torch.rand(ROWS, spec.bands, generator=rng) * 4 - 6
        given = (hops, active, fixed, envelope, gain * (i % 2))
        if i < 48:
            run_path(plain, *given)
            continue
        if i == 48:
            adopt(kernels, plain)
        expected, got = run_path(plain, *given), run_path(kernels, *(t.to(DEVICE) for t in given))
        for mine, other in zip(got, expected, strict=True):
            assert (mine.cpu() - other)[active[:, 0]].abs().max() <= BOUND * other.abs().max()
        worst = max(worst, float((expected[-1] - expected[0]).abs().max()))
    assert worst > 0.01


def run_path(path: DevicePath, hops, active, fixed, envelope, gain):
    """One hop: the received band, the spectrum, the cutoff and the output."""
    received, spectrum, cutoff = path.analyse(hops, active, fixed)
    found = [received.clone(), spectrum[:, : min(path.spec.bins_in, hops.shape[1] * 3 + 1)].clone(), cutoff.clone()]
    return [*found, path.synthesise(envelope, cutoff, received, active, gain)]


def tracked_voices(spec) -> np.ndarray:
    """Spectra (frames, rows, bins, 2) of voices that end at several cutoffs and change, a tone, clicks, and silence."""
    x = voice_like(3.6, seed=2) + noise(57600, 4, 1e-3)
    half = len(x) // 2
    voices = [x, 1e-4 * x, 0 * x]
    for hz in (1500, 2400, 3400, 5100):
        spectrum = np.fft.rfft(x)
        spectrum[round(hz * len(x) / 16000) :] = 0
        voices.append(np.fft.irfft(spectrum, len(x)).astype(np.float32))
    voices += [np.concatenate([voices[a][:half], voices[b][half:]]) for a, b in ((5, 3), (3, 5))]
    clicks = voices[5].copy()
    clicks[4000::3000] += 0.9
    tone = 0.3 * np.sin(2 * np.pi * 1000 / 16000 * np.arange(len(x))).astype(np.float32)
    voices += [clicks, np.concatenate([voices[6][:half], tone[half:]])]
    return np.stack([oracle.spectra(v, spec, 16000) for v in voices], axis=1)


@torch.inference_mode()
def test_the_tracker_agrees_wherever_anything_happens(model_path):
    spec = Weights.find(model_path).spec
    heard = torch.from_numpy(tracked_voices(spec))
    voices = heard.shape[1]
    plain = CutoffTracker(spec, 16000, voices, torch.device("cpu"))
    plain.clear(torch.arange(voices))
    parts, moments = ("smoothed", "before", "held", "known"), []
    for i, spectrum in enumerate(heard):
        active = torch.full((voices, 1), i % 17 > 0)
        before = {name: getattr(plain, name).clone() for name in parts}
        plain.push(spectrum, active)
        after = {name: getattr(plain, name).clone() for name in parts}
        changed = (before["known"] - after["known"])[:, [s for s in STATE if s not in (0, 2, 5)]].abs().amax(1) > 0
        rows = changed | (torch.arange(voices) == i / 4 % voices)
        moments.append([spectrum[rows], active[rows], *(w[name][rows] for w in (before, after) for name in parts)])
    spectrum, active, *state = (torch.cat(one).to(DEVICE) for one in zip(*moments, strict=True))
    path = FusedPath(spec, 16000, 16000, len(spectrum), DEVICE)
    for name, whole in zip(parts, state[:4], strict=True):
        getattr(path.tracker, name).copy_(whole)
    path.analysed[:, path.hearing.spectrum] = spectrum.flatten(1)
    given = path.analysed[:, path.hearing.spectrum].unflatten(1, (-1, 2))
    cutoff = path._tracked(given, active, torch.full((len(spectrum),), math.nan, device=DEVICE))
    for name, expected in zip(parts, state[4:], strict=True):
        torch.testing.assert_close(getattr(path.tracker, name), expected, rtol=1e-7, atol=1e-20)
    known = state[7]
    within = torch.where(known[:, CUTOFF] <= spec.cutoff_max_hz, known[:, CUTOFF], 2.0 * spec.rate)
    torch.testing.assert_close(cutoff, within.float())
    assert len(known[:, CUTOFF].unique()) >= 5
    assert known[:, CLICK].amax() > 1


def test_a_pool_moves_and_clears_rows(model_path):
    """Three voices of which the first leaves and another comes, beside a pool that runs the torch form."""
    voices = [voice_like(0.1, 8000, seed) + noise(800, seed, 1e-3) for seed in range(4)]
    plain = GraphBackend(Weights.find(model_path), "cpu", fuse=False)
    pools = [Pool(plain, limit=3), Pool(fused(model_path), limit=3)]
    rows = {v: [pool.open(8000, cutoff=2000.0 + 500 * v) for pool in pools] for v in range(3)}
    for tick in range(3):
        if tick == 1:
            for pool, row in zip(pools, rows.pop(0), strict=True):
                pool.close(row)
            rows[3] = [pool.open(8000, cutoff=1500.0) for pool in pools]
        for v, each in rows.items():
            for pool, row in zip(pools, each, strict=True):
                pool.push(row, voices[v][tick * 40 + 300 :][:40])
        expected, got = (pool.tick() for pool in pools)
        for one, other in rows.values():
            assert np.abs(got[other] - expected[one]).max() <= 1e-5
    assert np.ptp(expected[rows[3][0]]) > 0.01


def test_where_kernels_do_not_run_torch_does(model_path, monkeypatch, caplog):
    def fail(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(fused_net.FusedNet, "step", fail)
    model = GraphBackend(Weights.find(model_path), str(DEVICE), fuse=True)
    assert model.fused is None
    assert [r.getMessage() for r in caplog.records] == [
        "without Triton's kernels: RuntimeError: Failed to find C compiler"
    ]


def test_every_kernel_compiles_for_a_card(model_path):
    command = [sys.executable, "-m", "bench.kernels", "--model", model_path, "--rows", "64", "--once"]
    command += ["--precisions", "bfloat16"]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("hear", "track", "enter", "past", "mlp", "linear", "memory", "generate", "overlap"):
        assert f"ok    {name}_kernel" in done.stdout
