"""An import, a lazy one too, only ever goes to a lower layer of packages, and no modules import in a circle."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "rtsr"
LAYERS = (  # packages of one layer do not import each other
    ("errors",),
    ("spec",),
    ("dsp",),
    ("timing", "net"),
    ("backend",),
    ("stream",),
    ("io",),
    ("pool", "enhance"),
    ("runs", "figure", "speech", "ray_cluster"),
    ("daemon",),
    ("archive", "train", "eval", "bench", "bridge", "integrations"),
    ("fleet",),
    ("cli",),
    ("__main__",),
)
LAYER_OF = {room: number for number, layer in enumerate(LAYERS) for room in layer}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """The dotted name of a module below the package, "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str) -> str:
    return name.split(".")[0]


NAMES = {name_of(path) for path in MODULES}


class Imports(ast.NodeVisitor):
    """Collects (module below the package, whether it is imported lazily) of one file."""

    def __init__(self, path: Path) -> None:
        self.package = name_of(path).split(".") if path.name == "__init__.py" else name_of(path).split(".")[:-1]
        self.package = [p for p in self.package if p]
        self.lazy = 0
        self.found: list[tuple[str, bool]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.lazy += 1
        self.generic_visit(node)
        self.lazy -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815

    def visit_If(self, node: ast.If) -> None:
        typing_only = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        self.lazy += typing_only
        self.generic_visit(node)
        self.lazy -= typing_only

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.split(".")[0] == "rtsr":
                self.add(alias.name.removeprefix("rtsr").removeprefix("."))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            base = self.package[: len(self.package) - node.level + 1]
            target = ".".join([*base, *([node.module] if node.module else [])])
        elif node.module and node.module.split(".")[0] == "rtsr":
            target = node.module.removeprefix("rtsr").removeprefix(".")
        else:
            return
        for alias in node.names:
            whole = f"{target}.{alias.name}".lstrip(".")
            self.add(whole if whole in NAMES else target)

    def add(self, name: str) -> None:
        self.found.append((name, bool(self.lazy)))


@cache
def imports(path: Path) -> list[tuple[str, bool]]:
    visitor = Imports(path)
    visitor.visit(ast.parse(path.read_text()))
    return visitor.found


def test_every_room_has_a_layer():
    assert {room_of(name) for name in NAMES} - {""} == set(LAYER_OF)


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p)], ids=lambda p: name_of(p))
def test_imports_go_down(path):
    mine = room_of(name_of(path))
    for name, _ in imports(path):
        other = room_of(name)
        if other != mine:
            assert other, f"{name_of(path)} imports the package itself"
            assert LAYER_OF[other] < LAYER_OF[mine], f"{name_of(path)} imports {name}: that does not go down"


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda p: name_of(p))
def test_the_command_line_opens_what_is_heavy_when_it_is_called(path):
    heavy = {name for name, lazy in imports(path) if room_of(name) in ("train", "eval", "bench") and not lazy}
    assert not heavy


def test_no_module_imports_in_a_circle():
    """Lazy imports and those for types count. A part may use names that its package has before it loads its parts."""
    graph = {name_of(p): {n for n, _ in imports(p)} - {name_of(p)} for p in MODULES if name_of(p)}
    for name, targets in graph.items():
        targets -= {package for package in targets if name.startswith(package + ".")}
    list(TopologicalSorter(graph).static_order())


def test_the_walk_sees_imports():
    """The test itself would pass on an empty list, so some that are known to be there are looked for."""
    assert ("backend.base", False) in imports(PACKAGE / "stream.py")
    assert ("errors", False) in imports(PACKAGE / "stream.py")
    assert ("backend.ort", True) in imports(PACKAGE / "backend" / "__init__.py")
    assert ("daemon.view", True) in imports(PACKAGE / "cli" / "live.py")
    assert ("net.model", True) in imports(PACKAGE / "net" / "weights.py")
    assert any(room_of(n) == "stream" for n, _ in imports(PACKAGE / "io" / "reblock.py"))
    assert len(MODULES) > 20
