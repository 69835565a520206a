"""A fleet on a real Ray cluster, and real callers."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.bridge.sipp import free_port

if TYPE_CHECKING:
    from tests.live.fleet.command import Fleet

NEEDED = ("aiortc", "aiohttp", "prometheus_client", "ray")

if os.environ.get("CI") != "true" and not all(map(importlib.util.find_spec, NEEDED)):
    collect_ignore_glob = ["test_*.py"]  # with CI=true the missing import is an error


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two bridges behind a gateway, with a line for all telephones of this machine and one that is encrypted."""
    from tests.live.bridge.sip_lines import write_certificate
    from tests.live.fleet.command import SECRET, STOP_S, VOICES, Fleet

    folder, ports = tmp_path_factory.mktemp("fleet"), [free_port(), free_port()]
    certificate, key = write_certificate(folder)
    one = Fleet(
        folder,
        VOICES,
        f"""
[[bridge.sip]]
name = "open"
listen = "127.0.0.1:{ports[0]}"
sources = ["127.0.0.0/8"]
[[bridge.sip]]
name = "encrypted"
listen = "127.0.0.1:{ports[1]}"
transport = "tls"
tls_cert = "{certificate}"
tls_key = "{key}"
accounts = {{ alice = "{SECRET}" }}
""",
        backend="null",
    )
    one.open_port, one.encrypted_port = ports
    yield one
    processes = one.processes()
    assert one.stop(signal.SIGTERM, STOP_S) == 0, "\n".join(one.lines)
    left = [pid for pid in processes if Path(f"/proc/{pid}").exists()]
    assert not left, [Path(f"/proc/{pid}/cmdline").read_text() for pid in left]
