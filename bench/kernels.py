"""`python -m bench.kernels`: compile every kernel of a tick for a GPU, on a machine that has none.

Each is compiled as a tick launches it, for few and for many rows, to PTX and machine code. Printed are the registers of
a thread, the bytes that spilled out of them, and the shared memory of a program. Exits with 1 where a kernel does not
compile or asks for more shared memory than the card has.

With TRITON_INTERPRET=1 in the environment nothing is compiled: the kernels' envelopes of voices are compared with those
of plain torch in float32, beside what torch gives in the same precision, in dB of the bands' powers. With `--speech`,
0.4 s of 16 recordings are restored by the kernels and by torch in float32: what is told is how much of the log-spectral
distance of sinc interpolation is gone. That takes minutes.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rtsr import Stream
from rtsr.backend.graph import GraphBackend
from rtsr.bench import count
from rtsr.bench.signal import voice
from rtsr.eval.evaluate import read_truth, recordings
from rtsr.net.device_path import DevicePath
from rtsr.net.kernels.launch import Launch, watched
from rtsr.net.weights import Weights
from rtsr.speech.metrics import lsd
from rtsr.speech.narrow import decimate, sinc_upsample

SHARED_KB = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}  # a program may take, by compute capability
TYPES = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.bool: "*i1",
}
OPTIONS = ("num_warps", "num_stages")


def launches(weights: Weights, precision: str, rows: int, once: bool) -> list[Launch]:
    """Return what a tick of so many rows launches: each kernel once for all of the same constants, or for all."""
    found: dict[str, Launch] = {}

    def note(launch: Launch) -> None:
        types = [a.dtype for a in launch.arguments if isinstance(a, torch.Tensor)]
        found.setdefault(f"{launch.kernel.__name__} {'' if once else (types, launch.constants)}", launch)

    work = count.tick(count.opened(weights, precision, True), 8000, weights.spec.rate, rows)
    with watched(note):
        work()
    return list(found.values())


def compiled(launch: Launch, capability: int) -> Any:
    """Compile a launch for a GPU of this compute capability; raises what Triton raises."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, constants = launch.kernel, {k: v for k, v in launch.constants.items() if k not in OPTIONS}
    kinds = [TYPES[a.dtype] if isinstance(a, torch.Tensor) else "i32" for a in launch.arguments]
    signature = dict(zip(kernel.arg_names, [*kinds, *["constexpr"] * len(constants)], strict=True))
    tensors = [i for i, a in enumerate(launch.arguments) if isinstance(a, torch.Tensor) and a.data_ptr() % 16 == 0]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(kernel.arg_names.index(name),): value for name, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i in tensors},
    )
    options = {name: launch.constants[name] for name in OPTIONS if name in launch.constants}
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options={"enable_fp_fusion": True, **options})


def usage(machine_code: bytes) -> dict[str, int]:
    """Return the registers of a thread and the bytes of its stack, of which a kernel without spills has none."""
    import triton

    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(machine_code)
        file.flush()
        command = [str(program), "--dump-resource-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    parts = (part.split(":") for part in said.split() if part.count(":") == 1)
    numbers = {name: int(value) for name, value in parts if value.isdecimal()}
    return {"registers": numbers["REG"], "stack": numbers["STACK"]}


def rows_of(launch: Launch) -> int:
    """Return how many rows a program of this launch takes."""
    return int(launch.constants["BLOCK_M"])


def check(launched: list[Launch], precision: str, capability: int) -> Iterator[str]:
    """Compile launches, print a line each, and yield what is wrong."""
    for launch in launched:
        sizes = {k: v for k, v in launch.constants.items() if k in ("C", "MORE", "N", "HIDDEN") and v}
        name = f"{launch.kernel.__name__}, {precision}, {rows_of(launch)} rows, {sizes}"
        try:
            made = compiled(launch, capability)
        except Exception as error:  # whatever the compiler raises is the finding
            print(f"  WRONG {name}: {error}")
            yield name
            continue
        shared_kb, found = made.metadata.shared / 1024, usage(made.asm["cubin"])
        products = next((kind for kind in ("wgmma", "mma.sync") if kind in made.asm["ptx"]), "no products")
        good = shared_kb <= SHARED_KB[capability]
        print(
            f"  {'ok   ' if good else 'WRONG'} {name}: {len(made.asm['ptx'].splitlines())} lines of PTX, {products}, "
            f"{made.metadata.num_warps} warps, {found['registers']} registers, {found['stack']} bytes of stack, "
            f"{shared_kb:.0f} KB shared"
        )
        if not good:
            yield name


def errors_db(weights: Weights, precision: str, rows: int, hops: int) -> dict[str, float]:
    """Return the root mean square error, in dB, of the envelopes of `rows` voices, of the kernels and of torch."""
    spec, device = weights.spec, torch.device("cpu")
    exact = GraphBackend(weights, "cpu", fuse=False)
    models = {name: GraphBackend(weights, "cpu", precision, name == "kernels") for name in ("kernels", "torch")}
    path = DevicePath(spec, 8000, spec.rate, rows, device)
    spoken = np.stack([voice(hops / spec.frames_per_s + 0.1, 8000, seed) for seed in range(rows)])
    cutoff = np.linspace(2000, 4000, rows, dtype=np.float32)
    states = {name: model.new_state(rows) for name, model in {"": exact, **models}.items()}
    made, squares = np.zeros((3, rows, spec.bands), np.float32), np.zeros(2)
    hop, active, fixed = spec.hop_at(8000), torch.ones(rows, 1, dtype=torch.bool), torch.from_numpy(cutoff)
    for i in range(hops):
        hops_in = torch.from_numpy(spoken[:, i * hop : (i + 1) * hop].copy())
        spectrum = path.analyse(hops_in, active, fixed)[1].numpy()
        for out, model, state in zip(made, (exact, *models.values()), states.values(), strict=True):
            model.step(spectrum, cutoff, state, out)
        squares += np.square(made[1:] - made[0]).mean((1, 2)) / hops
    return dict(zip(models, (10 / math.log(10) * np.sqrt(squares)).tolist(), strict=True))


def stretches(speech: Path, rate: int, rows: int, samples: int) -> np.ndarray:
    """Return the loudest part of each of some held-out recordings, (rows, samples)."""
    found = []
    for path in list(recordings(speech, "valid", rate, rows))[:rows]:
        truth = read_truth(path, rate)
        loudness = np.convolve(np.square(truth), np.ones(samples), "valid")
        found.append(truth[int(loudness.argmax()) :][:samples])
    return np.stack(found)


@torch.inference_mode()
def restored(model: GraphBackend, low: np.ndarray, cutoff_hz: float, rate: int) -> np.ndarray:
    """Restore rows of 8 kHz, (rows, samples), the path around the network in torch; aligned with what was true."""
    spec, rows = model.spec, len(low)
    path, hop = DevicePath(spec, 8000, rate, rows, torch.device("cpu")), spec.hop_at(8000)
    state, out, made = model.new_state(rows), np.zeros((rows, spec.bands), np.float32), []
    active, gain = torch.ones(rows, 1, dtype=torch.bool), torch.ones(rows, dtype=torch.float64)
    fixed = torch.full((rows,), cutoff_hz)
    for i in range(0, low.shape[1], hop):
        received, spectrum, cutoff = path.analyse(torch.from_numpy(low[:, i : i + hop].copy()), active, fixed)
        model.step(spectrum.numpy(), cutoff.numpy(), state, out)
        made.append(path.synthesise(torch.from_numpy(out), cutoff, received, active, gain))
    return torch.cat(made, dim=1).numpy()[:, Stream(model, 8000, rate).latency :]


def shares(weights: Weights, precision: str, speech: Path, rows: int = 16, hops: int = 80) -> tuple[float, float]:
    """Return the restored share of torch in float32, and of the kernels in a precision."""
    rate = weights.spec.rate
    factor = rate // 8000
    truth = stretches(speech, rate, rows, hops * weights.spec.hop)
    low = np.stack([decimate(row, rate, factor) for row in truth])
    made = [
        restored(GraphBackend(weights, "cpu", p, f), low, 4000.0, rate)
        for p, f in (("float32", False), (precision, True))
    ]
    made.append(np.stack([sinc_upsample(row, 8000, factor) for row in low])[:, : made[0].shape[1]])
    found = [np.mean([lsd(t[: len(y)], y, rate) for t, y in zip(truth, one, strict=True)]) for one in made]
    exact, kernels, sinc = map(float, found)
    return 1 - exact / sinc, 1 - kernels / sinc


def compare(weights: Weights, precisions: list[str], speech: Path | None) -> int:
    """Print the errors in every precision, or what is restored, and return the exit code."""
    for precision in precisions:
        if speech is not None:
            exact, kernels = shares(weights, precision, speech)
            print(
                f"  {precision}: restored share {kernels:.4f}, of torch in float32 {exact:.4f}: {kernels - exact:+.5f}"
            )
            continue
        found = errors_db(weights, precision, 32, 10)
        print(f"  {precision}: " + ", ".join(f"{name} {error:.2e} dB" for name, error in found.items()))
    return 0


def main() -> int:
    """Compile all and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="voice-16k")
    options.add_argument("--capability", type=int, default=90, choices=SHARED_KB, help="90 is an H100")
    options.add_argument("--precisions", default="float32,tf32,bfloat16,float16")
    options.add_argument("--rows", default="64,4096,16384")
    options.add_argument("--speech", type=Path, help="a folder with a manifest.csv, for the restored share")
    options.add_argument("--once", action="store_true", help="compile each kernel for the first of its sizes only")
    chosen = options.parse_args()
    weights = Weights.find(chosen.model)
    if os.environ.get("TRITON_INTERPRET"):
        return compare(weights, chosen.precisions.split(","), chosen.speech)
    wrong = [
        name
        for precision in chosen.precisions.split(",")
        for rows in map(int, chosen.rows.split(","))
        for name in check(launches(weights, precision, rows, chosen.once), precision, chosen.capability)
    ]
    print("; ".join(["wrong:", *wrong]) if wrong else "every kernel compiles")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
