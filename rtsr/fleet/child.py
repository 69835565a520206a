"""The process of one bridge of a fleet: settings come as one line of JSON on stdin, and it ends when stdin does.

It tells its URL, and the ports of its lines of SIP, on stdout once it takes calls.
The clock shares its interpreter with nothing of Ray.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from ..bridge.log import to_stderr
from ..bridge.service import BridgeService
from ..errors import RtsrError
from .config import from_json


def end_with_stdin() -> None:
    """End this process at once when its parent closes stdin, or is gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def tell(service: BridgeService) -> None:
    """Write where it listens."""
    ports = {name: agent.line.paths.place[1] for name, agent in service.sip.agents.items()}
    print(json.dumps({"url": service.url, "sip": ports}), flush=True)


def main() -> int:
    """Run a bridge; returns the exit code."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # Ray blocks them in its workers
    to_stderr()
    settings = from_json(json.loads(read_line()))
    threading.Thread(target=end_with_stdin, name="stdin", daemon=True).start()
    try:
        service = BridgeService(settings)
        service.listening = tell
        service.run()
    except KeyboardInterrupt:  # stdin ended while it was being prepared
        return 0
    except RtsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def read_line() -> bytes:
    """Return the first line of stdin, and take nothing beyond it."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            break
        line += more
    return line


if __name__ == "__main__":
    sys.exit(main())
