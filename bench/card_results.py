"""`python -m bench.card_results FOLDER`: what the rows of a card mean, beside what is aimed at."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
HOP_MS = 5.0
VOICE_MS = {"p50_ms": 0.25, "p99_ms": 0.5}
VOICES = (10_000, 50_000)  # that have to fit, and that are aimed at
TRAINING = 1e6 / (20 * 60)  # seconds of audio a second: a million in 20 minutes
HOW = """
How to read card.jsonl, a row of JSON a line (the last of a key counts):
  card, check, ...          error against the CPU and its bound; good says whether it is within
  card, one voice in a pool p50_ms and p99_ms of a tick, host to host
  card, launches of ...     nodes of a tick's graph; busy_us of kernels; longest: µs of each kernel
  card, stages of ...       ms of each part of a tick, recorded by itself
  card, N voices, ...       ms of a tick (p99_ms under 5 fits), moving_p50_ms of hops into the pool and out of it,
                            floor_bytes_ms and floor_operations_ms: what the card's measured ceilings allow at best
  card, training, ...       pairs_ms and step_ms apart, both_ms together; audio_s_per_s: seconds learned from a second
card.log has all that was printed, with the reasons of what failed."""


def newest(rows: Iterable[Row]) -> list[Row]:
    """Return the last row of each key."""
    return list({row["key"]: row for row in rows}.values())


def summary(rows: Iterable[Row]) -> list[str]:
    """Return lines that say what was found, each bar with whether it is met."""
    found, lines = newest(rows), list[str]()
    checks = [row for row in found if "good" in row and "check" in row["key"]]
    wrong = [row for row in checks if not row["good"]]
    lines.append(f"checks: {len(checks) - len(wrong)} of {len(checks)} within their bounds")
    lines += [f"  WRONG {row['key'].removeprefix('card, check, ')}: {row['error']}" for row in wrong]
    failed = [row["stage"] for row in found if row["key"].startswith("card, stage ") and not row["good"]]
    lines += [f"  WRONG in {', '.join(failed)}: see card.log"] if failed else []
    for row in (r for r in found if r["key"].startswith("card, one voice in a pool")):
        of = ", ".join(f"{n[:3]} {row[n]:.3f} ms ({said(row[n] <= most)} {most})" for n, most in VOICE_MS.items())
        lines.append(f"{row['key'].removeprefix('card, ')}: {of}")
    carried: dict[str, int] = {}
    for row in (r for r in found if "precision" in r and r["p99_ms"] < HOP_MS):
        carried[row["precision"]] = max(carried.get(row["precision"], 0), row["voices"])
    for precision, voices in carried.items():
        bars = ", ".join(f"{said(voices >= n)} {n:,}" for n in VOICES)
        lines.append(f"voices at p99 < {HOP_MS:g} ms in {precision}: {voices:,} ({bars})")
    best = max((r["audio_s_per_s"] for r in found if r["key"].startswith("card, training")), default=None)
    if best is not None:
        lines.append(f"training: {best:.0f} s of audio a second ({said(best >= TRAINING)} {TRAINING:.0f})")
    return lines


def said(good: bool) -> str:
    """Return how a bar is told."""
    return "meets" if good else "misses"


def main() -> None:
    """Print what was found so far, and how to read it."""
    path = Path(sys.argv[1]) / "card.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    print("\n".join(summary(rows)))
    print(HOW)


if __name__ == "__main__":
    main()
