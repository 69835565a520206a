"""Compiled kernels say what their arrays are: their arguments have no types that a reader could follow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ("active", "head", "levels")  # what `Stage` and `io/layout.py` describe for all kernels


def kernels() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield every function that numba compiles, with its file and name."""
    for path in sorted((ROOT / "rtsr").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any("njit" in ast.unparse(one) for one in node.decorator_list):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


KERNELS = list(kernels())


@pytest.mark.parametrize("kernel", [node for _, node in KERNELS], ids=[name for name, _ in KERNELS])
def test_the_shape_of_every_array_is_documented(kernel):
    text = ast.get_docstring(kernel)
    assert text
    arrays = [one.arg for one in kernel.args.args if one.annotation and "Array" in ast.unparse(one.annotation)]
    for name in arrays:
        assert name in SHARED or name in text, name
    assert not arrays or set(arrays) <= set(SHARED) or "(" in text, "no shape"


def test_there_are_kernels():
    assert len(KERNELS) > 30
