"""`python -m bench.fuzz TARGET`: whatever bytes, for a minute; what a target is wrong about goes into its corpus.

The targets are those of tests/fuzzed.py, which `make test` runs for seconds. With Atheris, which is for x86-64 alone,
new bytes are those that reach new lines; without it they are random changes of the corpus.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests")]

from fuzzed import CORPUS, TARGETS, seeds  # noqa: E402

MOST_BYTES = 65_536
WATCHED = (  # what is asked for new lines; numba does not compile what is watched
    *("rtsr.bridge.config", "rtsr.bridge.jitter", "rtsr.bridge.peer", "rtsr.bridge.rtp", "rtsr.bridge.service"),
    *("rtsr.daemon.config", "rtsr.daemon.control", "aiortc.rtp", "aiortc.sdp", "json", "tomllib"),
)


def watched(target: str, seconds: int) -> None:
    """Run libFuzzer over a target; ends the process."""
    import atheris

    with atheris.instrument_imports(include=list(WATCHED)):
        for data in seeds(target):
            TARGETS[target](data)  # imports what it needs
    limits = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", "-timeout=10", "-rss_limit_mb=4096"]
    limits.append(f"-artifact_prefix={CORPUS / target}/")
    with tempfile.TemporaryDirectory() as found:  # what reaches new lines goes there, what is wrong into the corpus
        atheris.Setup([sys.argv[0], *limits, found, str(CORPUS / target)], TARGETS[target])
        atheris.Fuzz()


def changed(data: bytes) -> bytes:
    """Return bytes that differ in a few places."""
    out = bytearray(data)
    for _ in range(random.randint(1, 6)):
        at = random.randint(0, len(out))
        new = random.randbytes(random.randint(0, 8)) * random.choice((1, 1, 1, 1_000))
        out[at : at + random.randint(0, 8)] = new
    return bytes(out[:MOST_BYTES])


def blind(target: str, seconds: int) -> None:
    """Change the corpus at random; raises what the target raises, when the bytes are stored."""
    known, ends_s, runs = seeds(target), time.monotonic() + seconds, 0
    while time.monotonic() < ends_s:
        data = changed(random.choice(known))
        try:
            TARGETS[target](data)
        except BaseException:
            path = CORPUS / target / f"crash-{hashlib.sha1(data).hexdigest()}"
            path.write_bytes(data)
            print(f"stored {path}")
            raise
        runs += 1
    print(f"{target}: {runs} runs, nothing found")


def main(
    target: Annotated[str, typer.Argument(help=f"One of {', '.join(TARGETS)}.")],
    seconds: Annotated[int, typer.Option(help="How long.")] = 60,
) -> None:
    """Run one target; ends with an error where it is wrong about something."""
    if target not in TARGETS:
        raise typer.BadParameter(f"expected one of {', '.join(TARGETS)}, got {target}")
    run = watched if importlib.util.find_spec("atheris") else blind
    run(target, seconds)


if __name__ == "__main__":
    typer.run(main)
