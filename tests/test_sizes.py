"""No file is over 300 lines; no function is over 50 lines or 8 arguments, but for compiled kernels."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("rtsr", "bench", "tests", "website")
PYTHON = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
NATIVE = [path for path in sorted((ROOT / "native" / "src").rglob("*")) if path.suffix in (".cpp", ".hpp")]
MOST_LINES, MOST_FUNCTION_LINES, MOST_ARGUMENTS = 300, 50, 8

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_kernel(function: Function) -> bool:
    """Whether numba or Triton compiles a function: it has no objects to group its arguments in."""
    return any(name in ast.unparse(one) for one in function.decorator_list for name in ("njit", "cfunc", "triton.jit"))


def functions(path: Path) -> Iterator[Function]:
    """Yield the functions and methods of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def arguments(function: Function) -> int:
    """Count what a caller gives: `self` and `cls` are not counted."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return sum(one.arg not in ("self", "cls") for one in given)


@pytest.mark.parametrize("path", [*PYTHON, *NATIVE], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_too_long(path):
    for function in functions(path):
        if not is_kernel(function):
            assert function.end_lineno - function.lineno < MOST_FUNCTION_LINES, function.name
            assert arguments(function) <= MOST_ARGUMENTS, function.name
