"""Write what the C++ tests compare with: three models, what each of their layers does, and what a stream gives.

    python native/tests/write_vectors.py FOLDER

writes FOLDER/random, FOLDER/fullband and FOLDER/shipped: a manifest, weights, and vectors.safetensors with `LAYER.in`
and `LAYER.out` of every layer, `spectrum`, `cutoff` and `envelope` of whole steps, `stream.RATE.RATE_OUT.CUTOFF.in`
and `.out`, and the same of `reblock.RATE.RATE_OUT` with its `.latency`; FOLDER/random and FOLDER/fullband have
`structure.RATE.heard`, `.envelope`, `.cutoff` and `.generated`; FOLDER/random has `phase.frame` and `.index` of bins
0 to 99, and `tracker.NAME.spectrum` and `.cutoff` too.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from rtsr import Reblock, Stream, load
from rtsr.dsp.band import CutoffTracker
from rtsr.dsp.frames import Frames
from rtsr.dsp.structure import NOTHING, FineStructure, phase_index
from rtsr.net.export import export
from rtsr.net.layers import Block, MinGru
from rtsr.net.model import BandNet, NetConfig
from rtsr.net.weights import SHIPPED, Weights
from rtsr.spec import Spec

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from signals import dropping, narrowed, noise, voice_like

SECONDS = 1.0
STRUCTURE_FRAMES = 60
PAUSE = 10  # frames at the end that are too quiet to be heard
STREAMS = [
    (8000, 16000, 4000.0),
    (16000, 16000, 3400.0),
    (16000, 16000, "auto"),
    (48000, 48000, "auto"),
    (4000, 16000, 2000.0),
    (16000, 48000, 2500.0),
    (11000, 32000, 2500.0),
]
FULLBAND_STREAMS = [
    (8000, 48000, 4000.0),
    (16000, 48000, 8000.0),
    (24000, 48000, 12000.0),
    (48000, 48000, "auto"),
    (48000, 96000, 6000.0),
]
FULLBAND = Spec(48_000, hop=240, history=1440, synthesis=480, cutoff_max_hz=14_000.0)
REBLOCKS = [(44100, 44100), (16000, 16000), (22050, 48000), (8000, 44100), (44100, 16000)]


def random_model(folder: Path, spec: Spec | None = None) -> Path:
    """Export a small network with odd widths that generates loudly, so that a difference anywhere is heard."""
    torch.manual_seed(11)
    net = BandNet(NetConfig(widths=(33, 24, 17), memory=19, spec=spec or Spec()))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("scale", "bias")) or ".norm." in name:
                parameter.uniform_(-0.7, 0.7)
        net.leave.weight.normal_(0, 0.3)
    return export(net, folder.name, folder, {})


def fullband_model(folder: Path) -> Path:
    """Export the same at 48 kHz."""
    return random_model(folder, FULLBAND)


def shipped_model(folder: Path) -> Path:
    """Copy the shipped model under a name of its own."""
    folder.mkdir(parents=True)
    weights = Weights.find("voice-16k")
    for entry in weights.manifest["files"].values():
        shutil.copy(SHIPPED / entry["file"], folder)
    return Path(shutil.copy(SHIPPED / "voice-16k.json", folder / "shipped.json"))


def frames_of(net: BandNet) -> int:
    """Return more frames than any layer remembers, so that the past of every one is used whole."""
    return max(shape[0] for shape in net.state_shapes().values()) + 1 + PAUSE


def spectra(net: BandNet) -> np.ndarray:
    """Return (frames, bins_in, 2): a voice, then a pause too quiet to be heard."""
    spec, count = net.config.spec, frames_of(net)
    seconds = 0.25 + count * spec.hop / spec.rate
    frames, x = Frames(spec, spec.rate), voice_like(seconds, spec.rate)
    x = (x + noise(len(x), 1, 1e-3))[-count * spec.hop :]
    x[(count - PAUSE) * spec.hop :] *= 1e-5
    return np.concatenate([frames.push(hop[None]).copy() for hop in x.reshape(-1, spec.hop)])


def layers(net: BandNet) -> dict[str, np.ndarray]:
    """Return what goes into every layer and what comes out, over all frames from a zero state."""
    kept: dict[str, np.ndarray] = {}

    def keep(name: str):
        def hook(_module, inputs, output) -> None:
            out = output[0] if isinstance(output, tuple) else output
            kept[f"{name}.in"], kept[f"{name}.out"] = (t[0].contiguous().numpy().copy() for t in (inputs[0], out))

        return hook

    for name, module in net.named_modules():
        if isinstance(module, Block | MinGru | nn.Linear | nn.LayerNorm):
            module.register_forward_hook(keep(name))
    spectrum = spectra(net)
    cutoff = np.linspace(1500, net.config.spec.cutoff_max_hz - 500, len(spectrum)).astype(np.float32)
    cutoff[5:10] = 4000  # exactly on a bin
    with torch.inference_mode():
        envelope, _ = net(torch.from_numpy(spectrum)[None], torch.from_numpy(cutoff)[None], net.new_state())
    return {**kept, "spectrum": spectrum, "cutoff": cutoff, "envelope": envelope[0].contiguous().numpy()}


def through(stream: Stream, x: np.ndarray) -> np.ndarray:
    """Return all that a stream makes of whole hops."""
    return np.concatenate([stream.process(hop) for hop in x.reshape(-1, stream.hop)])


def streams(path: Path) -> dict[str, np.ndarray]:
    """Return what goes into a stream and what comes out, for several rates."""
    out = {}
    model = load(path, "eager")
    for rate, rate_out, cutoff in FULLBAND_STREAMS if model.spec == FULLBAND else STREAMS:
        stream = Stream(model, rate, rate_out, cutoff=cutoff)
        x = voice_like(SECONDS, rate) + noise(round(SECONDS * rate), 1, 1e-3)
        if cutoff == "auto":
            x = narrowed(x, rate, 3000)
        name = f"stream.{rate}.{rate_out}.{cutoff}"
        x = x[: len(x) // stream.hop * stream.hop]
        out[f"{name}.in"], out[f"{name}.out"] = x, through(stream, x)
        assert cutoff != "auto" or stream.cutoff_hz < 4000, "the band's edge was not found: this compares nothing"
    return out


def trackers(spec: Spec) -> dict[str, np.ndarray]:
    """Return spectra and the cutoff that is found after each, for what leads the tracker through all its branches."""
    rate, time = spec.rate, np.arange(2 * spec.rate) / spec.rate
    voice, hiss, hum = voice_like(2.0), noise(len(time), 1), 0.3 * np.sin(2 * np.pi * 1500 * time)
    rising = 0.3 * np.sin(2 * np.pi * np.cumsum(200 * 17 ** (time / 2)) / rate)
    fading = np.cumsum(hiss).astype(np.float32) * 0.02
    heard = {
        "wider": (narrowed(voice, rate, 3000), narrowed(voice, rate, 5500), voice),
        "narrower": (narrowed(hiss, rate, 6000), narrowed(hiss, rate, 3400), narrowed(hiss, rate, 2000)),
        "tone": (narrowed(voice, rate, 3400), hum.astype(np.float32)),
        "sweep": (narrowed(voice, rate, 3400), rising.astype(np.float32), narrowed(voice, rate, 2000)),
        "fading": (narrowed(voice, rate, 3400), fading, 1e-5 * hiss),
        "clicks": (dropping(narrowed(voice, rate, 3400), 160), dropping(voice, 160)),
        "thin": (narrowed(hiss, rate, 700), narrowed(hiss, rate, 4000)),
        "high": (narrowed(voice, rate, 3400), narrowed(voice + 0.05 * hiss, rate, 7500)),
    }
    out = {}
    for name, parts in heard.items():
        frames, tracker = Frames(spec, rate), CutoffTracker(spec, rate)
        spectra = np.stack([frames.push(hop[None]).copy() for hop in np.concatenate(parts).reshape(-1, spec.hop)])
        out[f"tracker.{name}.spectrum"] = spectra[:, 0]
        out[f"tracker.{name}.cutoff"] = np.array([tracker.push(spectrum)[0] for spectrum in spectra], np.float32)
        assert len(np.unique(out[f"tracker.{name}.cutoff"])) > 1, f"{name}: nothing was found: this compares nothing"
    return out


def structures(spec: Spec) -> dict[str, np.ndarray]:
    """Return what the last two hops, envelopes and cutoffs of frames become in a stage of their own, in their order."""
    out, rng = {}, np.random.default_rng(4)
    for rate in (8000, 16000, 48000):
        hop, stage = spec.hop_at(rate), FineStructure(spec, rate)
        x = np.concatenate([np.zeros(hop, np.float32), noise(STRUCTURE_FRAMES * hop, 2, 0.1)])
        x *= np.repeat(10 ** rng.uniform(-5, 0, STRUCTURE_FRAMES + 1), hop).astype(np.float32)
        heard = np.lib.stride_tricks.sliding_window_view(x, 2 * hop)[::hop].copy()
        heard[20] = 0
        envelope = rng.uniform(-6, 3, (STRUCTURE_FRAMES, spec.bands)).astype(np.float32)
        envelope[10], envelope[11] = NOTHING, 20
        cutoff = rng.uniform(1000, spec.rate / 2 + 500, STRUCTURE_FRAMES).astype(np.float32)
        cutoff[30:40] = np.round(cutoff[30:40], -2)
        rows = zip(heard[:, None], envelope[:, None], cutoff[:, None], strict=True)
        made = np.concatenate([stage.push(*row).copy() for row in rows])
        named = {"heard": heard, "envelope": envelope, "cutoff": cutoff, "generated": made}
        out |= {f"structure.{rate}.{name}": values for name, values in named.items()}
    return out


def phases() -> dict[str, np.ndarray]:
    """Return where the noise stands in its table, for frames that a float can hold."""
    frames = [*range(50), 2**24, 3 * 2**30, 2**31, 2**32, 2**40]
    index = np.array([[phase_index(frame, k) for k in range(100)] for frame in frames], np.float32)
    return {"phase.frame": np.array(frames, np.float32), "phase.index": index}


def reblocks(path: Path) -> dict[str, np.ndarray]:
    """Return the same for any blocks, at rates without a whole hop; the block sizes do not matter."""
    out = {}
    for rate, rate_out in REBLOCKS:
        x = voice_like(SECONDS, rate) + noise(round(SECONDS * rate), 1, 1e-3)
        name, reblock = f"reblock.{rate}.{rate_out}", Reblock(load(path, "eager"), rate, rate_out, cutoff=3000.0)
        out[f"{name}.in"], out[f"{name}.out"] = x, reblock.process(x)
        out[f"{name}.latency"] = np.array([reblock.latency], np.float32)
    return out


def main(folder: Path) -> None:
    """Write the models anew."""
    torch.set_num_threads(1)
    for name, make in (("random", random_model), ("fullband", fullband_model), ("shipped", shipped_model)):
        shutil.rmtree(folder / name, ignore_errors=True)
        path = make(folder / name)
        net = Weights.find(path).network().eval()
        once = {**reblocks(path), **trackers(net.config.spec), **phases()} if name == "random" else {}
        if name != "shipped":
            once |= structures(net.config.spec)
        save_file({**layers(net), **streams(path), **once}, folder / name / "vectors.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
