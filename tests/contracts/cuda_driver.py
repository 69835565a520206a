"""A library with the functions of the CUDA driver that are called, for which the host's memory is the card's."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from rtsr.backend import driver

SOURCE = r"""
#include <string.h>
typedef unsigned long long address;
int cards = 2, depth = 0, current = -1, streams = 0, copies = 0, failing = 0;
size_t copied = 0, pinned = 0;
static int stack[64], contexts[2];
int cuInit(unsigned flags) { return flags; }
int cuGetErrorName(int status, const char **name) { *name = status == 719 ? "LAUNCH_FAILED" : "OTHER"; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return number < cards ? 0 : 101; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &contexts[device]; return 0; }
int cuCtxPushCurrent_v2(void *context) {
    stack[depth++] = current;
    current = (int)((int *)context - contexts);
    return 0;
}
int cuCtxPopCurrent_v2(void **context) { current = stack[--depth]; *context = 0; return 0; }
int cuStreamCreate(void **stream, unsigned flags) {
    if (current < 0 || flags != 1) return 201;
    *stream = (void *)(size_t)(100 * (current + 1) + ++streams);
    return 0;
}
int cuMemcpy(address target, address source, size_t size) {
    if (failing || current < 0) return failing ? failing : 201;
    memmove((void *)target, (const void *)source, size);
    ++copies;
    copied += size;
    return 0;
}
int cuMemHostRegister_v2(void *host, size_t size, unsigned flags) {
    pinned += flags == 1 ? size : 0;
    return host ? 0 : 1;
}
int cuMemHostUnregister(void *host) { pinned = 0; return host ? 0 : 1; }
"""


class FakeDriver:
    """The library's counters by name."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    def __getattr__(self, name: str) -> int:
        kind = ctypes.c_size_t if name in ("copied", "pinned") else ctypes.c_int
        return kind.in_dll(self._library, name).value

    def fail(self, status: int) -> None:
        """Let copies fail from now on."""
        ctypes.c_int.in_dll(self._library, "failing").value = status


@pytest.fixture
def fake_driver(tmp_path, monkeypatch) -> FakeDriver:
    """Takes the place of libcuda.so.1."""
    (tmp_path / "cuda.c").write_text(SOURCE)
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "cuda.c"], check=True)
    monkeypatch.setattr(driver, "LIBRARY", str(library))
    driver._library.cache_clear()
    driver._context.cache_clear()
    yield FakeDriver(library)
    driver._library.cache_clear()
    driver._context.cache_clear()
