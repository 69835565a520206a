"""Streams and graphs of CUDA on the CPU: a graph keeps the operations of its recording and replays just those."""

from __future__ import annotations

import threading
import weakref
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rtsr.backend import replays


class Operations(TorchDispatchMode):
    """Keeps the operations that are done while it is on, with the memory that they work on."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, result))
        return result


class Graph:
    """A recording: what Python would decide at replay is not in it."""

    cuda: FakeCuda

    def capture_begin(self, pool: object, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        assert self.cuda.current is not None, "recorded on a stream of its own"
        self.operations = Operations()
        self.operations.__enter__()
        self.cuda.pools.append(pool)

    def capture_end(self) -> None:
        self.operations.__exit__(None, None, None)
        self.cuda.graphs.add(self)

    def pool(self) -> str:
        return "the pool of the first"

    def replay(self) -> None:
        assert self.cuda.current is not None
        self.cuda.replayed += 1
        with torch.inference_mode():
            for func, args, kwargs, before in self.operations.done:
                again = func(*args, **kwargs)
                for old, new in zip(tree_leaves(before), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class Stream:
    """A stream on which all is done at once, unless it hangs."""

    def __init__(self, cuda: FakeCuda, number: int) -> None:
        self.cuda, self.number = cuda, number

    def wait_stream(self, other: object) -> None:
        self.cuda.log.append(("wait for", other))

    def query(self) -> bool:
        self.cuda.log.append(("wait", self.number))
        return self.number not in self.cuda.hanging


class FakeCuda:
    """Stands in for torch.cuda where the backend works on the CPU; what was recorded, launched and waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._local = threading.local()
        self.keys: list[object] = []  # in the order of recording
        self.pools: list[object] = []
        self.graphs: weakref.WeakSet[Graph] = weakref.WeakSet()
        self.log: list[tuple[str, object]] = []
        self.replayed = self.streams = 0
        self.hanging: set[int] = set()
        monkeypatch.setattr(torch.cuda, "CUDAGraph", type("CUDAGraph", (Graph,), {"cuda": self}))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the default stream")
        monkeypatch.setattr(torch.cuda, "stream", self._on)
        monkeypatch.setattr(torch.cuda, "ExternalStream", lambda handle, device: Stream(self, handle))
        monkeypatch.setattr(replays, "records", lambda device: True)
        monkeypatch.setattr(replays.driver, "new_stream", self._new_stream)
        monkeypatch.setattr(replays, "_idle_streams", type(replays._idle_streams)(list))
        monkeypatch.setattr(replays, "_hung", {})
        record, launch = replays.Replays.record, replays.Replays.launch

        def noted(one: replays.Replays, works: Any) -> None:
            self.keys += works
            record(one, works)

        def launched(one: replays.Replays, key: object, work: Any) -> None:
            launch(one, key, work)
            self.log.append(("launch", key))

        monkeypatch.setattr(replays.Replays, "record", noted)
        monkeypatch.setattr(replays.Replays, "launch", launched)

    @property
    def current(self) -> Stream | None:
        return getattr(self._local, "stream", None)

    def _new_stream(self, card: int) -> int:
        self.streams += 1
        return self.streams

    def _on(self, stream: Stream) -> Any:
        cuda = self

        class On(nullcontext):
            def __enter__(self) -> None:
                self.before, cuda._local.stream = cuda.current, stream

            def __exit__(self, *_: object) -> None:
                cuda._local.stream = self.before

        return On()
