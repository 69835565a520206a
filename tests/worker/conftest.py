"""Each worker of `rtsr live` behind a host whose clock a script moves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rtsr.backend import Backend, installed
from rtsr.daemon.native_worker import NativeWorker
from rtsr.daemon.worker import Worker
from tests.backends import open_backend
from tests.fakehost import FakeHost
from tests.worker.heard import RATE, VOICE, from_array


@pytest.fixture(scope="module", params=[Worker, NativeWorker])
def kind(request: pytest.FixtureRequest) -> type[Worker | NativeWorker]:
    """Each worker in turn."""
    return request.param


@pytest.fixture(scope="module")
def generating(kind, model_path: Path) -> Backend:
    """The random model on a backend that the worker takes: that all of them agree is tested elsewhere."""
    return open_backend(model_path, "native" if kind is NativeWorker else installed()[0])


@pytest.fixture(scope="module")
def host(kind, generating) -> Callable[..., FakeHost]:
    """Call it with a signal and what a `FakeHost` takes; with `plain`, nothing is generated."""

    def make(
        signal: np.ndarray = VOICE, *, plain: bool = False, sleep_db: float = -70.0, **options: object
    ) -> FakeHost:
        worker = partial(kind, generating, RATE, low_water=144, burst=240, cutoff=4000.0, sleep_db=sleep_db)
        fake = FakeHost(worker, partial(from_array, signal), **options)
        fake.worker.wish(bypass=plain)
        return fake

    return make
