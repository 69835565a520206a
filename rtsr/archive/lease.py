"""Other runs are kept out of a folder: by a lock on a disk, by a lease in an object store, which has no lock.

A lease is an object with a name of its own, written anew every `RENEW_S` while its run lasts. A run writes one first,
and then looks for others; a store lists all that was written before, so of two runs at least one sees the other. That
one removes its own and watches the other. Where the other is renewed, this run is refused. Where it is not for
`STALE_S`, its run was killed: it is removed, and this run begins anew. No clocks of two machines are compared, and no
conditional writes are needed, which not every store and library has.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ..errors import AlreadyRunning
from .store import Store

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

RENEW_S = 5.0
STALE_S = 30.0
READS = 3
PREFIX = ".rtsr-lease-"
NAME = re.compile(re.escape(PREFIX) + "[0-9a-f]{16}")
_log = logging.getLogger(__name__)


def held(store: Store, waits: Callable[[str], None]) -> AbstractContextManager[Lease]:
    """Keep other runs out of a folder; raises `AlreadyRunning`. `waits` hears why it takes time.

    On a disk the lease that is yielded has no name, and `check` has nothing to find.
    """
    return _leased(store, waits) if fcntl is None or not store.is_local else _locked(store)


@contextmanager
def _locked(store: Store) -> Iterator[Lease]:
    assert fcntl is not None
    Path(store.root).mkdir(parents=True, exist_ok=True)
    folder = os.open(store.root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a process that is killed gives it back
        except BlockingIOError:
            raise _refused(store) from None
        yield Lease(store)
    finally:
        os.close(folder)


@contextmanager
def _leased(store: Store, waits: Callable[[str], None]) -> Iterator[Lease]:
    lease = Lease(store)
    try:
        lease.take(waits)
        yield lease
    finally:
        lease.end()


class Lease:
    """A folder of an object store, for one run; renewed by a thread of its own from `take` until `end`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.name = ""
        self.renewed_s = 0.0  # of time.monotonic, before the last renewal was written
        self._writes = 0
        self._since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, waits: Callable[[str], None]) -> None:
        """Return when it is this run's; raises `AlreadyRunning` where another run is seen to last."""
        while (others := self._claim()) is not None:
            for name, content in others.items():
                waits(f"{self.store.url}: waiting up to {STALE_S:.0f} s for a sign of {_owner(content)}")
                self._watch(name, content)
            time.sleep(random.uniform(0, RENEW_S))  # two that saw each other would meet again
        self._thread = threading.Thread(target=self._keep, name="rtsr lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `AlreadyRunning` where another run has taken over; asked just before something is written."""
        check(self.store, self.name)

    def end(self) -> None:
        """Give it back."""
        self._ended.set()
        if self._thread:
            self._thread.join()
        if self.name:
            _remove(self.store, self.name)

    def renew(self, store: Store) -> bool:
        """Write it again; returns whether it is still this run's. One that another run removed stays removed."""
        now_s = time.monotonic()
        if not store.exists(self.name):
            return False
        self._write(store)
        # Late, it may have been removed between the two, and be there again: as in `_claim`, one of both sees it.
        if self._is_late() and self._others(store):
            _remove(store, self.name)
            return False
        self.renewed_s = now_s
        return True

    def _claim(self) -> dict[str, bytes] | None:
        """Write one under a new name and return None; if there are others, remove it and return those, by name."""
        self.name = PREFIX + secrets.token_hex(8)
        self.renewed_s = time.monotonic()
        self._write(self.store)
        others = self._others(self.store)
        if not others and not self._is_late():
            return None
        _remove(self.store, self.name)
        return others

    def _is_late(self) -> bool:
        """Whether another run may have taken it for stale by now, and removed it."""
        return time.monotonic() - self.renewed_s > STALE_S / 2

    def _watch(self, name: str, content: bytes) -> None:
        """Return when another lease is gone, removed where it is stale; raises `AlreadyRunning` where it is renewed."""
        until_s = time.monotonic() + STALE_S
        while time.monotonic() < until_s:
            time.sleep(RENEW_S / 5)
            now = _read(self.store, name)
            if now is None:
                return
            if now != content:
                raise _refused(self.store, f" ({_owner(content)})")
        _remove(self.store, name)

    def _keep(self) -> None:
        store = Store(self.store.url)  # not every file system may be used by two threads
        while not self._ended.wait(RENEW_S):
            try:
                if not self.renew(store):
                    return
            except Exception as error:  # whatever the store raised, the next time it may answer
                _log.warning("%s: the lease was not renewed: %s", store.url, error)

    def _write(self, store: Store) -> None:
        self._writes += 1  # so that each time it is another content
        owner = {"host": socket.gethostname(), "process": os.getpid(), "since": self._since, "writes": self._writes}
        store.write(json.dumps(owner).encode(), self.name)

    def _others(self, store: Store) -> dict[str, bytes]:
        names = [name for name in store.top() if NAME.fullmatch(name) and name != self.name]
        found = {name: _read(store, name) for name in names}
        return {name: content for name, content in found.items() if content is not None}


def check(store: Store, name: str) -> None:
    """Raise `AlreadyRunning` where a lease is gone; one without a name never is."""
    if name and not store.exists(name):
        raise AlreadyRunning(f"another run has taken over {store.url}: this one gave no sign for {STALE_S:.0f} s")


def _refused(store: Store, owner: str = "") -> AlreadyRunning:
    return AlreadyRunning(f"another run writes to {store.url}{owner}: wait for its end, or choose another folder")


def _owner(content: bytes) -> str:
    try:
        owner = json.loads(content)
        return f"process {owner['process']} on {owner['host']}, since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return "an unknown process"


def _read(store: Store, name: str) -> bytes | None:
    """Return what a lease holds, or None where it is gone; reading one that is just written or removed may fail."""
    for _ in range(READS - 1):
        with suppress(OSError):
            return store.read(name)
        if not store.exists(name):
            return None
    return store.read(name)


def _remove(store: Store, name: str) -> None:
    """Remove a lease that may be gone; one that stays becomes stale."""
    with suppress(OSError):
        store.remove(name)
