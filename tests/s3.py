"""An S3 server for the tests of archives, and the environment that says where it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def ended(process: subprocess.Popen) -> None:
    """End a server and what it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


@contextmanager
def s3_bucket() -> Iterator[str]:
    """Run the server; yields the URL of a bucket."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "us-east-1"}
    before = dict(os.environ)
    os.environ.update(keys, AWS_ENDPOINT_URL=url, AWS_EC2_METADATA_DISABLED="true")
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(urllib.request.Request(f"{url}/calls", method="PUT")).close()
                break
            except OSError:
                time.sleep(0.05)
        yield "s3://calls"
    finally:
        os.environ.clear()
        os.environ.update(before)
        ended(process)
