"""Pictures of spectra, for people who would rather look than read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .dsp.windows import FloatArray
from .errors import MissingDependency

DYNAMIC_DB = 80.0


def spectrograms(panels: dict[str, tuple[FloatArray, int]], path: Path, title: str) -> None:
    """Draw one spectrogram a panel under another, titled by its key, to a PNG; panels are (samples, rate).

    All share the time axis, the frequency axis of the highest rate and the colour scale of the loudest.
    """
    plt = pyplot()
    top = max(rate for _, rate in panels.values()) / 2000
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, 2.4 * len(panels)), sharex=True, squeeze=False)
    for axis, (name, (samples, rate)) in zip(axes[:, 0], panels.items(), strict=True):
        level = power_db(samples, rate)
        extent = (0.0, len(samples) / rate, 0.0, rate / 2000)
        image = axis.imshow(level, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-DYNAMIC_DB, vmax=0)
        axis.set(title=name, ylabel="kHz", ylim=(0, top), facecolor="black")
        axis.title.set_fontsize(10)
    axes[-1, 0].set_xlabel("seconds")
    figure.suptitle(title)
    figure.colorbar(image, ax=axes[:, 0], label="dB under the loudest", fraction=0.03, pad=0.02)
    save(figure, path)


def pyplot() -> Any:
    """Return matplotlib's pyplot, drawing to files; raises `MissingDependency`."""
    try:
        import matplotlib
    except ImportError:
        raise MissingDependency("matplotlib", "demo", "drawing pictures") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG and let it go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot().close(figure)


def power_db(samples: FloatArray, rate: int) -> FloatArray:
    """Return power in dB under the loudest bin, shape (bins, frames); 32 ms Hann frames every 4 ms."""
    size, hop = int(0.032 * rate), int(0.004 * rate)
    padded = np.pad(samples, (size // 2, size // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1).T) ** 2
    return 10 * np.log10(power / (power.max() + 1e-20) + 1e-12)
