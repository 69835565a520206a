"""What a person sees of a running `rtsr live`: meters on a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections import deque
from datetime import datetime
from types import TracebackType
from typing import Any, BinaryIO, Self, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .background import Stats

METER_DB, METER_WIDTH = 60, 30
BLOCKS = " ▁▂▃▄▅▆▇█"
REPORT_S = 60.0
EVENTS = 5


class LogView:
    """One line an event, `key=value`, and one a minute with the state: for a journal."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or _unbuffered_stderr()
        self.reported = time.monotonic()

    def event(self, path: str, kind: str, line: str) -> None:
        """Write one line."""
        if self.out is None:
            return
        quoted = line.replace("\\", "\\\\").replace('"', "'")
        self.out.write(f'{_now()} path={path} event={kind} msg="{quoted}"\n')
        self.out.flush()

    def stats(self, stats: Stats) -> None:
        """Write the state, once a minute."""
        if time.monotonic() - self.reported < REPORT_S:
            return
        self.reported = time.monotonic()
        for path, s in stats.items():
            keys = (
                "model",
                "cutoff_hz",
                "input_db",
                "worker_underruns",
                "input_underruns",
                "overloads",
                "reconnects",
                "drift_ppm",
            )
            fields = " ".join(f"{k}={s[k]}" for k in keys)
            self.event(path, "stats", f"{fields} compute_p99_ms={s['compute_ms']['p99']}")


def _unbuffered_stderr() -> TextIO | None:
    """Return stderr without a buffer, whose lock a write that hangs would hold: Python could not end then.

    None where stderr was closed before the start.
    """
    if sys.stderr is None:
        return None
    try:
        raw = io.FileIO(sys.stderr.fileno(), "w", closefd=False)
    except OSError:  # no file, as where it is captured
        return sys.stderr
    return io.TextIOWrapper(cast(BinaryIO, raw), "utf-8", "backslashreplace", write_through=True)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


class Terminal:
    """A live picture: levels, cutoff, spectra before and after, where the latency goes, what went wrong."""

    def __init__(self, console: Console) -> None:
        self.live = Live(console=console, refresh_per_second=4, transient=False)
        self.events: deque[str] = deque(maxlen=EVENTS)
        self.latest: Stats = {}
        self.cpu: dict[str, tuple[float, float]] = {}

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self.live.stop()

    def event(self, path: str, kind: str, line: str) -> None:
        """Show one of the last events."""
        self.events.append(f"{datetime.now():%H:%M:%S} {path} {kind}: {line}")
        self._draw()

    def stats(self, stats: Stats) -> None:
        """Draw the state."""
        self.latest = stats
        self._draw()

    def _draw(self) -> None:
        parts = [self._picture(path, s) for path, s in self.latest.items()]
        self.live.update(Group(*parts, *(Text(e, style="dim", overflow="ellipsis", no_wrap=True) for e in self.events)))

    def _picture(self, path: str, s: dict[str, Any]) -> Table:
        table = Table(title=f"{path}: {s['input']} → {s['output']}", title_justify="left", show_header=False)
        table.add_row("in", meter(s["input_db"]))
        table.add_row("out", meter(s["output_db"]))
        table.add_row("before", sparks(s["before_db"]))
        table.add_row("after", sparks(s["after_db"]))
        table.add_row("cutoff", f"{s['cutoff_hz']:.0f} Hz, {s['model']} on {s['backend']}, {state(s)}")
        parts = ", ".join(f"{name} {value:.1f}" for name, value in s["latency_ms"].items())
        compute = ", ".join(f"{name} {value:.2f}" for name, value in s["compute_ms"].items())
        table.add_row("latency ms", f"{parts}; compute {compute}")
        table.add_row(
            "underruns", f"{s['worker_underruns']} worker, {s['input_underruns']} input, {s['device_xruns']} device"
        )
        table.add_row("cpu", f"{self._cpu(path, s):.0f} % of a core, drift {s['drift_ppm']:.0f} ppm")
        return table

    def _cpu(self, path: str, s: dict[str, Any]) -> float:
        then, used = self.cpu.get(path, (0.0, 0.0))
        self.cpu[path] = (s["uptime_s"], s["cpu_s"])
        return 100 * (s["cpu_s"] - used) / max(s["uptime_s"] - then, 0.05)


def state(s: dict[str, Any]) -> str:
    """Return in a word or two what is being done to the voice."""
    words = [w for w in ("mute", "bypass", "plain", "asleep") if s[w]]
    return ", ".join(words) or f"enhancing at {s['gain_db']:+.0f} dB"


def meter(level_db: float) -> Text:
    """Return a bar from -60 dB to full scale."""
    filled = round(METER_WIDTH * min(max(level_db / METER_DB + 1, 0), 1))
    colour = "red" if level_db > -1 else "yellow" if level_db > -9 else "green"
    return Text("█" * filled, style=colour) + Text("░" * (METER_WIDTH - filled), style="dim") + f" {level_db:6.1f} dB"


def sparks(bands_db: list[float]) -> str:
    """Return one block a band, its height the level from -100 to -20 dB."""
    return "".join(BLOCKS[round(min(max((b + 100) / 80, 0), 1) * (len(BLOCKS) - 1))] for b in bands_db)
