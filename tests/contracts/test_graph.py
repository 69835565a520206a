"""The device's code: the same numbers as everybody's, on the CPU always, and on a GPU where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from rtsr import BackendFailed, Pool, Stream, load
from rtsr.dsp.band import CutoffTracker
from rtsr.net.weights import Weights
from tests.contracts import oracle
from tests.contracts.test_pool import Platform
from tests.contracts.test_rows import FRAMES, frames, run
from tests.signals import dropping, noise, voice_like

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from rtsr.backend.graph import GraphBackend  # noqa: E402
from rtsr.net import device_path  # noqa: E402

BOUND = 1e-5
HAS_CUDA = torch.cuda.is_available()
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not HAS_CUDA, reason="torch finds no CUDA device on this machine")),
]


@pytest.fixture(scope="module", params=DEVICES)
def graph(request, model_path) -> GraphBackend:
    return GraphBackend(Weights.find(model_path), request.param)


@pytest.fixture(scope="module")
def eager(model_path):
    return load(model_path, "eager")


def close(got: np.ndarray, expected: np.ndarray, bound: float = BOUND) -> None:
    assert np.abs(expected).max() > 0.03
    assert np.abs(got - expected).max() <= bound * np.abs(expected).max()


def test_it_agrees_with_eager(graph, eager):
    heard = oracle.spectra(voice_like(0.8) + noise(12800, 1, 1e-3), eager.spec, 16000)
    cutoffs = np.linspace(1000, 7000, len(heard)).astype(np.float32)
    close(oracle.envelopes(graph, heard, cutoffs), oracle.envelopes(eager, heard, cutoffs), 1e-4)


@pytest.mark.parametrize(("precision", "bound"), [("tf32", 2e-2), ("bfloat16", 0.2), ("float16", 5e-2)])
@pytest.mark.parametrize("device", DEVICES)
def test_lower_precisions_are_near_eager(model_path, eager, device, precision, bound):
    heard = oracle.spectra(voice_like(0.5) + noise(8000, 1, 1e-3), eager.spec, 16000)
    cutoffs = np.full(len(heard), 3000, np.float32)
    got = oracle.envelopes(GraphBackend(Weights.find(model_path), device, precision), heard, cutoffs)
    expected = oracle.envelopes(eager, heard, cutoffs)
    assert np.sqrt(np.square(got - expected).mean() / np.square(expected).mean()) < bound


class Casts(TorchDispatchMode):
    """Counts conversions of type."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.to):
            self.count += result.dtype != args[0].dtype
        return result


def test_weights_of_sixteen_bits_are_not_converted_in_a_step(model_path):
    model = GraphBackend(Weights.find(model_path), "cpu", "bfloat16", fuse=False)
    (spectrum, *_), cutoff = frames(model, 2)
    state, out = model.new_state(2), np.zeros((2, model.spec.bands), np.float32)
    with Casts() as casts:
        model.step(spectrum, cutoff, state, out)
    layers = [m for m in model.net.modules() if isinstance(m, torch.nn.Linear)]
    assert len(layers) == 20
    assert casts.count <= len(layers) + len(model._pasts), "what goes into layers and rings, and no weights"


def test_masked_rows_stand_still_and_give_zeros(graph, eager):
    heard, cutoff = frames(eager)
    active = np.random.default_rng(2).random((FRAMES, heard.shape[1])) < 0.6
    junk = heard.copy()
    junk[~active] = 1e3
    got, expected = run(graph, junk, cutoff, active), run(eager, heard, cutoff, active)
    close(got, expected, 1e-4)
    assert not got[~active].any()


def test_rows_can_be_carried_to_and_from_another_backend(graph, eager):
    heard, cutoff = frames(eager, 2)
    expected = run(eager, heard, cutoff)
    out = np.zeros_like(expected[0])
    models, states = (eager, graph, eager), [eager.new_state(2)]
    for i, spectrum in enumerate(heard):
        if i in (20, 45):
            old, new = models[len(states) - 1], models[len(states)]
            states.append(new.new_state(2))
            for row in range(2):
                new.write_row(states[-1], row, old.read_row(states[-2], row))
        models[len(states) - 1].step(spectrum, cutoff, states[-1], out)
        assert np.abs(out - expected[i]).max() <= 1e-4 * np.abs(expected).max()


def test_a_cleared_row_is_new(graph, eager):
    heard, cutoff = frames(eager, 2)
    state, out = graph.new_state(2), np.zeros((2, graph.spec.bands), np.float32)
    for spectrum in heard[:30]:
        graph.step(spectrum, cutoff, state, out)
    graph.write_row(state, 1)
    expected = run(graph, heard[:, 1:], cutoff[1:])
    for i in range(20):
        graph.step(heard[i], cutoff, state, out)
        close(out[1:], expected[i], 1) if i < 5 else close(out[1:], expected[i])


def test_one_stream_runs_on_it(graph, eager):
    x = voice_like(0.5, 8000)
    got, expected = (Stream(m, 8000, cutoff=2500.0) for m in (graph, eager))
    for hop in x.reshape(-1, 40):
        np.testing.assert_allclose(got.process(hop), expected.process(hop), atol=1e-5)


@pytest.mark.parametrize(("threads", "seed", "ticks"), [(1, 0, 150), (3, 1, 30)])
def test_the_pools_rows_give_what_they_give_alone_in_a_stream(graph, eager, threads, seed, ticks):
    with Pool(graph, limit=19, threads=threads) as pool:
        platform = Platform(pool, seed)
        platform.reference = eager
        for _ in range(ticks):
            platform.tick()
    assert pool.running_on == ["graph"]
    assert platform.compared > 2 * ticks
    assert platform.worst <= BOUND
    assert platform.generated > 0.1


def test_cutoffs_are_tracked_as_by_the_streams_tracker(graph, eager):
    spec = eager.spec
    quiet, wide = 1e-4 * voice_like(1.0, seed=3), voice_like(1.0, seed=2) + noise(16000, 4, 1e-3)
    narrow = [band_limited(wide, hz) for hz in (700, 1500, 2400, 3400, 5100, 7300)]
    falling = (0.02 * np.cumsum(noise(8000, 1))).astype(np.float32)
    tone = (0.3 * np.sin(2 * np.pi * 1500 / 16000 * np.arange(8000))).astype(np.float32)
    voices = [wide, quiet, *narrow, dropping(narrow[3], 160, 2000)]
    later = (narrow[1][8000:], wide[8000:], falling, tone)
    voices += [np.concatenate([narrow[3][:8000], after]) for after in later]
    heard = np.stack([oracle.spectra(v, spec, 16000) for v in voices], axis=1)
    tracker = CutoffTracker(spec, 16000, len(voices))
    tracking = device_path.CutoffTracker(spec, 16000, len(voices), graph.device)
    remembered = (tracking.smoothed, tracking.before, tracking.held, tracking.known)
    found = set()
    tracking.clear(torch.arange(len(voices), device=graph.device))
    for spectrum in heard:
        expected = tracker.push(spectrum)
        there = torch.ones(len(voices), 1, dtype=torch.bool, device=graph.device)
        got = tracking.push(torch.from_numpy(spectrum).to(graph.device), there)
        np.testing.assert_allclose(got.cpu().numpy(), expected)
        for ours, theirs in zip(tracker.memory, remembered, strict=True):
            np.testing.assert_allclose(theirs.cpu().numpy(), ours, rtol=1e-6)
        found.update(expected)
    assert len(found) >= 4


def band_limited(x: np.ndarray, hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(x)
    spectrum[round(hz * len(x) / 16000) :] = 0
    return np.fft.irfft(spectrum, len(x)).astype(np.float32)


@pytest.mark.parametrize("gain_db", [0.0, -6.0])
def test_when_the_device_is_lost_the_received_band_goes_on(graph, eager, null, gain_db):
    rates = [(8000, 16000), (16000, 16000), (48000, 48000)]
    pools = [Pool(m, limit=6, spare=s) for m, s in ((graph, eager), (eager, None), (null, None))]
    rows = [[p.open(*r, cutoff=2000.0, gain_db=gain_db) for r in rates] for p in pools]
    assert rows[0] == rows[1] == rows[2]
    fault, got = 30, {row: ([], [], []) for row in rows[0]}
    voices = [voice_like(0.3, rate, rate_out) + noise(rate * 3 // 10, rate, 1e-3) for rate, rate_out in rates]
    for i in range(60):
        if i == fault:
            for slots in pools[0]._batches:
                slots.batch._replays.launch = lose
        for p, pool in enumerate(pools):
            for row, voice in zip(rows[0], voices, strict=True):
                pool.push(row, voice.reshape(60, -1)[i])
            outputs = pool.tick()
            for row in rows[0]:
                got[row][p].append(outputs[row].copy())
    assert pools[0].running_on == ["eager"]
    assert [type(e) for e in pools[0].failures] == [OSError] * 3
    for with_fault, without, plain in ([np.concatenate(g) for g in three] for three in got.values()):
        hop = len(plain) // 60
        at = fault * hop
        close(with_fault[:at] - plain[:at], without[:at] - plain[:at], 1e-4)
        added, usual = (np.abs(x - plain) for x in (with_fault, without))
        assert added[at : at + 3].max() < 0.05 * usual[at - 20 * hop :].max()  # it fades in, over what was received
        assert added[at + hop :].max() > 0.3 * usual[at + hop :].max()
        assert np.isfinite(with_fault).all()


def test_a_voice_can_leave_a_lost_device(graph, eager, null):
    pools = [Pool(m, limit=3, spare=s) for m, s in ((graph, eager), (null, None))]
    voices = [voice_like(0.3, 8000, r) for r in range(3)]
    for pool in pools:
        for _ in voices:
            pool.open(8000, cutoff=2000.0)
    for i in range(60):
        if i == 30:
            pools[0]._batches[0].batch._replays.launch = lose
            assert not len(pools[0].tick())  # nobody said anything: all stall and stand still
            for pool in pools:
                pool.close(0)
        outputs = []
        for pool in pools:
            for row in (0, 1, 2) if i < 30 else (1, 2):
                pool.push(row, voices[row][40 * i :][:40])
            outputs.append(pool.tick())
        if i == 30:
            assert pools[0].running_on == ["eager"]
            for row in (1, 2):  # the received band has no seam; what is added begins at nothing
                assert np.abs(outputs[0][row][:3] - outputs[1][row][:3]).max() < 0.02
    assert np.abs(outputs[0][1] - outputs[1][1]).max() > 0.01


def test_a_lost_device_without_a_spare_says_so(graph):
    pool = Pool(graph, limit=1)
    row = pool.open(8000)
    pool._batches[0].batch._replays.launch = lose
    pool.push(row, noise(40))
    with pytest.raises(BackendFailed, match=r"graph failed and there is no other backend.*fell off the bus"):
        pool.tick()


@pytest.mark.parametrize("lost", ["new_memory", "advance"])
def test_a_pair_of_rates_opened_on_a_full_device_runs_on_the_spare(model_path, null, lost):
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    model = GraphBackend(Weights.find(model_path), "cpu")
    pool = Pool(model, limit=2, spare=null)
    pool.open(8000)
    setattr(model, lost, full)
    row = pool.open(16000)
    assert pool.running_on == ["graph", "null"]
    assert [type(error) for error in pool.failures] == [torch.cuda.OutOfMemoryError]
    pool.push(row, noise(80))
    assert np.isfinite(pool.tick()[row]).all()


def lose(*_: object) -> None:
    raise OSError("the device fell off the bus")


def test_a_tick_leaves_no_memory_behind(graph):
    from tests.contracts.test_memory import GROWTH, growth

    pool = Pool(graph, limit=4)
    rows = [pool.open(8000) for _ in range(3)]

    def ticks(count: int) -> None:
        for i in range(count):
            for row in rows:
                pool.push(row, noise(40, i))
            pool.tick()

    grown, _ = growth(lambda: ticks(20), lambda: ticks(20))
    assert grown < GROWTH
