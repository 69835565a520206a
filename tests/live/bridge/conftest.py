"""A bridge in a process of its own, and real peers: aiortc, Chromium, GStreamer, telephone programs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.bridge.server import Bridge
from tests.live.bridge.sip_lines import lines

__all__ = ["lines"]  # pytest finds it here

NEEDED = ("aiortc", "aiohttp", "prometheus_client")

if os.environ.get("CI") != "true" and not all(map(importlib.util.find_spec, NEEDED)):
    collect_ignore_glob = ["test_*.py"]  # with CI=true the missing import is an error


@pytest.fixture(scope="module")
def bridge() -> Iterator[Bridge]:
    """One bridge for the tests of a file that do not end it."""
    one = Bridge()
    yield one
    assert one.stop() == 0, "\n".join(one.lines)


@pytest.fixture
def start_bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Call it with arguments, and settings as a file of TOML has them: a bridge for this test alone."""
    started: list[Bridge] = []

    def start(*arguments: str, settings: str = "", **more: object) -> Bridge:
        if settings:
            config = tmp_path / "bridge.toml"
            config.write_text(f"[bridge]\n{settings}\n")
            arguments = ("--config", str(config), *arguments)
        started.append(Bridge(*arguments, **more))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots are kept."""
    folder = Path(os.environ.get("RTSR_PICTURES", Path(__file__).resolve().parents[3] / "out" / "bridge"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
