"""The metrics that restored speech is scored by: one row of `METRICS` each, which every table and report reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from ..errors import InvalidSetting
from .metrics import envelope_error, level_bias, lsd, si_sdr, snr
from .mos import MOS_RATE, distillmos, dnsmos
from .perceptual import PESQ_WB_RATE, VISQOL_MODES, pesq_wb, stoi, visqol

Scores = dict[str, float | None]  # by a metric's name, in the order of METRICS; None where it was not taken

PERCEPTUAL, VISQOL, MOS = "perceptual", "visqol", "mos"  # options of `score`
ARROWS = {"lower": "↓", "higher": "↑", "near 0": "→0"}
SINC, TRUTH = "sinc", "truth"  # the systems between which a share is restored: the received band, and all of it


@dataclass(frozen=True, slots=True)
class Compared:
    """What a metric is given: signals (samples,) at `rate`, and where the received band ended."""

    truth: ArrayLike
    estimate: ArrayLike
    rate: int
    cutoff_hz: float


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the table. `of` returns None where a signal has no score; the package it needs is its own matter.

    One that does not need the truth scores the truth as well, which tells what share of the difference to the received
    band a system restores.
    """

    name: str  # in rows of JSON
    heading: str
    better: str  # lower, higher or near 0
    of: Callable[[Compared], float | None]
    option: str | None = None  # taken only where this is asked for
    rates: Collection[int] = ()  # that it is defined at; any where there are none
    needs_truth: bool = True
    in_bars: bool = False  # drawn line by line in a report
    share: bool = False  # tables have the restored share as well

    @property
    def directed(self) -> str:
        """The heading with an arrow to the better side."""
        return f"{self.heading} {ARROWS[self.better]}"

    def taken(self, rate: int, options: Collection[str]) -> bool:
        """Whether it is defined at this rate and asked for."""
        return (not self.rates or rate in self.rates) and (self.option is None or self.option in options)


def _opinion(name: str, heading: str, of: Callable[[Compared], float | None], share: bool = False) -> Metric:
    """Return the row of a predictor of human opinion."""
    return Metric(
        name, heading, "higher", of, option=MOS, rates=(MOS_RATE,), needs_truth=False, share=share, in_bars=share
    )


METRICS = (
    Metric("lsd", "LSD", "lower", lambda j: lsd(j.truth, j.estimate, j.rate), in_bars=True),
    Metric("lsd_lf", "LSD-LF", "lower", lambda j: lsd(j.truth, j.estimate, j.rate, (0.0, j.cutoff_hz))),
    Metric(
        "lsd_hf", "LSD-HF", "lower", lambda j: lsd(j.truth, j.estimate, j.rate, (j.cutoff_hz, math.inf)), in_bars=True
    ),
    Metric("snr_db", "SNR", "higher", lambda j: snr(j.truth, j.estimate)),
    Metric("si_sdr_db", "SI-SDR", "higher", lambda j: si_sdr(j.truth, j.estimate)),
    Metric(
        "pesq_wb",
        "PESQ-WB",
        "higher",
        lambda j: pesq_wb(j.truth, j.estimate),
        option=PERCEPTUAL,
        rates=(PESQ_WB_RATE,),
        in_bars=True,
    ),
    Metric("stoi", "STOI", "higher", lambda j: stoi(j.truth, j.estimate, j.rate), option=PERCEPTUAL),
    Metric(
        "visqol",
        "ViSQOL",
        "higher",
        lambda j: visqol(j.truth, j.estimate, j.rate),
        option=VISQOL,
        rates=VISQOL_MODES,
        in_bars=True,
    ),
    Metric("level_bias_db", "level dB", "near 0", lambda j: level_bias(j.truth, j.estimate, j.rate, j.cutoff_hz)),
    Metric("envelope_db", "envelope dB", "lower", lambda j: envelope_error(j.truth, j.estimate, j.rate, j.cutoff_hz)),
    _opinion("distillmos", "DistillMOS", lambda j: distillmos(j.estimate), share=True),
    _opinion("p808", "DNSMOS", lambda j: dnsmos(j.estimate, "p808"), share=True),
    _opinion("sig", "SIG", lambda j: dnsmos(j.estimate, "sig")),
    _opinion("ovrl", "OVRL", lambda j: dnsmos(j.estimate, "ovrl")),
)


def score(
    truth: ArrayLike, estimate: ArrayLike, rate: int, cutoff_hz: float, options: Collection[str] = (PERCEPTUAL,)
) -> Scores:
    """Return every metric that is taken of one signal whose received band ended at `cutoff_hz`, None for the others.

    LSD-LF covers the bins below the cutoff, LSD-HF the rest up to and with half the rate. Raises what the metrics do.
    """
    compared = Compared(truth, estimate, rate, cutoff_hz)
    return {m.name: m.of(compared) if m.taken(rate, options) else None for m in METRICS}


def score_truth(truth: ArrayLike, rate: int, options: Collection[str]) -> Scores | None:
    """Return the truth's own scores by the metrics that do not need it, or None where none of those is taken."""
    compared = Compared(truth, truth, rate, rate / 2)
    taken = {m.name for m in METRICS if not m.needs_truth and m.taken(rate, options)}
    return {m.name: m.of(compared) if m.name in taken else None for m in METRICS} if taken else None


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Return the plain mean of each metric over the files that have it, None where no file has.

    One infinite ratio makes its mean infinite. An empty list raises `InvalidSetting`.
    """
    if not scores:
        raise InvalidSetting("a mean needs the scores of at least one file, got none")
    means: Scores = {}
    for name in scores[0]:
        present = [value for each in scores if (value := each[name]) is not None]
        means[name] = sum(present) / len(present) if present else None
    return means


@dataclass(frozen=True, slots=True)
class Figure:
    """A column of a table of means: a metric, or what share of it is restored."""

    metric: Metric
    share: bool = False

    @property
    def heading(self) -> str:
        """What stands above it."""
        return f"{self.metric.heading} restored ↑" if self.share else self.metric.directed

    def of(self, own: Scores, line: Mapping[str, Scores]) -> float | None:
        """Return a system's figure from its scores and those of all systems on the same line, by name."""
        return restored_share(self.metric.name, own, line) if self.share else own.get(self.metric.name)


def figures(scores: Iterable[Scores]) -> list[Figure]:
    """Return the columns for these means: each metric that any of them has, and the share where the truth has it."""
    known = list(scores)
    present = [m for m in METRICS if any(each.get(m.name) is not None for each in known)]
    return [Figure(m, share) for m in present for share in ((False, True) if m.share else (False,))]


def restored_share(name: str, own: Scores, line: Mapping[str, Scores]) -> float | None:
    """Return (system - sinc) / (truth - sinc) of means; None where one is missing or the latter two are equal."""
    ends = (own.get(name), line.get(SINC, {}).get(name), line.get(TRUTH, {}).get(name))
    if any(end is None for end in ends):
        return None
    system, sinc, truth = (float(end) for end in ends if end is not None)
    return (system - sinc) / (truth - sinc) if truth != sinc else None


def shown(value: float | None) -> str:
    """Return a figure as tables have it."""
    return "-" if value is None else f"{value:.3f}"
