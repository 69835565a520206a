"""What is counted of a hop is what it launches, moves and computes; and the kernels stay few and light."""

from __future__ import annotations

import pytest

from rtsr.net.weights import Weights

torch = pytest.importorskip("torch")

from rtsr.bench import count  # noqa: E402

F32 = 4


def counted(work) -> tuple[int, int, float]:
    counter = count.Counter()
    with torch.inference_mode(), counter:
        work()
    return counter.launches, counter.bytes, counter.operations


A, B = torch.zeros(8, 32), torch.zeros(32, 16)
FIRST = torch.tensor([1])


@pytest.mark.parametrize(
    ("work", "launches", "elements", "operations"),
    [
        (lambda: A + A, 1, 3 * 256, 256),
        (lambda: A + A[:1].expand(8, 32), 1, 2 * 256 + 32, 256),  # what is broadcast is read once
        (lambda: A.view(32, 8)[3:].unsqueeze(0), 0, 0, 0),
        (lambda: torch.empty(1000), 0, 0, 0),
        (lambda: torch.zeros(8, 32).copy_(A), 2, 3 * 256, 512),  # a fill, and a copy that reads nothing of its target
        (lambda: torch.nn.functional.linear(A, B.t()), 1, 256 + 512 + 128, 2 * 8 * 32 * 16),
        (lambda: A[FIRST], 1, 2 * 32, None),  # a gather reads what it gives, and its index
    ],
)
def test_operators_are_counted(work, launches, elements, operations):
    found = counted(work)
    assert found[0] == launches
    assert 0 <= found[1] - F32 * elements <= 8  # an index's own bytes
    assert operations is None or found[2] == operations


@pytest.fixture(scope="module")
def shipped() -> Weights:
    return Weights.find("voice-16k")


@pytest.mark.parametrize(("precision", "kb"), [("float32", 90), ("bfloat16", 60)])
def test_a_hop_is_few_launches_and_little_memory(shipped, precision, kb):
    pytest.importorskip("triton")
    torch_form = count.count(count.opened(shipped, precision, fuse=False))
    kernels = count.count(count.opened(shipped, precision, fuse=True))
    assert kernels.launches <= 40 < torch_form.launches
    assert kernels.bytes <= 1000 * kb < torch_form.bytes
    macs = shipped.manifest["macs_per_s"] / shipped.spec.frames_per_s
    assert 2 * macs < kernels.operations < 2.5 * macs  # the network, and the path around it


def test_a_card_carries_what_its_slower_half_allows():
    found = count.Count(launches=1, bytes=10.0, operations=100.0, once=50.0)
    assert found.voices(1.0, 1050.0, 1e9) == 100
    assert found.voices(1.0, 1e9, 700.0) == 7


def test_it_is_printed(run):
    code, said, _ = run("bench", "count", "--no-save")
    assert code == 0
    assert "launches" in said
    assert said.count("float32") == said.count("bfloat16") == 2
