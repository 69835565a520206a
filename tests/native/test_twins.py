"""What Python and C++ both say is the same: constants, the layout of shared memory, the words of a manifest."""

from __future__ import annotations

import ast
import ctypes
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"

# C++ files, the Python files that say the same, and what stands in one of them alone.
TWINS = [
    (["band.cpp"], ["dsp/band.py"], {"LOUDEST", "CANDIDATE", "STANDING", "CUTOFF", "SETTLED", "FLOOR", "CLICK"}),
    (["structure.cpp", "structure.hpp"], ["dsp/structure.py", "spec.py"], {"PI"}),
    (["stream.cpp", "stream.hpp"], ["dsp/path.py", "stream.py"], set()),
    (["reblock.cpp"], ["io/reblock.py"], {"ODD"}),
    (["resample.cpp"], ["dsp/resample.py"], {"PI"}),
    (["drift.cpp", "drift.hpp"], ["daemon/drift.py"], {"BETA", "DELAY", "SPARE"}),
    (["gate.hpp"], ["daemon/gate.py"], set()),
    (["worker.cpp"], ["daemon/worker.py"], {"NAP_S", "NAP_SHARE", "PERCENTILES"}),
    (["manifest.cpp"], ["net/weights.py"], {"WIDEST", "LONGEST", "MOST_RATE", "HASH_IN_NAME"}),
]
NUMBER = r"[A-Z][A-Z0-9_]*\s*=\s*[^,;]+"


def in_cpp(path: Path) -> dict[str, float]:
    """The constants of a C++ file that are written as plain numbers, or as a fraction of another."""
    found: dict[str, float] = {}
    for declared in re.findall(
        rf"constexpr (?:int|double|float|int64_t) ({NUMBER}(?:,\s*{NUMBER})*);", path.read_text()
    ):
        for one in declared.split(","):
            name, _, value = (part.strip() for part in one.partition("="))
            plain = re.sub(r"(?<=[\d.])f\b|'", "", value)
            found[name] = float(eval(plain, {"__builtins__": {}}, dict(found)))
    return found


def in_python(path: Path) -> dict[str, Any]:
    """The constants of a Python file that are written as plain values."""
    found: dict[str, Any] = {}
    for line in ast.parse(path.read_text()).body:
        if not isinstance(line, ast.Assign):
            continue
        for target in line.targets:
            names = [part.id for part in (target.elts if isinstance(target, ast.Tuple) else [target])]  # type: ignore[attr-defined]
            try:
                value = ast.literal_eval(line.value)
            except ValueError:  # an expression, as of a type
                continue
            found |= zip(names, value if isinstance(target, ast.Tuple) else [value], strict=True)
    return {name: value for name, value in found.items() if name.isupper()}


@pytest.mark.parametrize(("cpp", "python", "alone"), TWINS, ids=[twin[0][0] for twin in TWINS])
def test_constants(cpp, python, alone):
    ours = {name: value for file in cpp for name, value in in_cpp(NATIVE / "src" / file).items()}
    theirs = {name: value for file in python for name, value in in_python(ROOT / "rtsr" / file).items()}
    assert ours
    assert set(ours) ^ set(theirs) <= alone
    for name in set(ours) & set(theirs):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6), name


def test_how_long_a_worker_sleeps_without_a_semaphore():
    theirs = [in_python(path) for path in sorted((ROOT / "rtsr" / "io").rglob("*.py"))]
    ours = in_cpp(NATIVE / "src" / "worker.cpp")
    for name in ("NAP_S", "NAP_SHARE"):
        assert [known[name] for known in theirs if name in known] == [ours[name]]


def test_how_many_computing_times_are_kept():
    theirs = in_python(ROOT / "rtsr" / "timing.py")
    assert in_cpp(NATIVE / "src" / "worker.hpp")["KEPT"] == theirs["KEPT"]


def test_sizes_of_the_drift_filter():
    sizes = in_cpp(NATIVE / "src" / "drift.hpp")
    text = (ROOT / "rtsr" / "daemon" / "drift.py").read_text()
    assert f"np.zeros(hop + {sizes['SPARE']:.0f}, " in text
    assert sizes["DELAY"] == sizes["TAPS"] // 2
    assert f"np.i0({in_cpp(NATIVE / 'src' / 'drift.cpp')['BETA']} * " in text


def structure(header: str, name: str) -> list[tuple[str, type]]:
    """The fields of a structure in a header, as ctypes has them."""
    text = re.sub(r"/\*.*?\*/", "", (NATIVE / "include" / header).read_text(), flags=re.DOTALL)
    body = re.search(rf"typedef struct {name} {{(.*?)}} {name};", text, re.DOTALL)
    assert body is not None, f"no {name} in {header}"
    found: list[tuple[str, type]] = []
    kinds = {"int64_t": ctypes.c_int64, "int32_t": ctypes.c_int32, "double": ctypes.c_double}
    for line in filter(None, (line.strip() for line in body[1].split(";"))):
        kind, names = re.match(r"(?:const )?(\w+) (.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
        for one in names.split(","):
            pointer = one.strip().startswith("*")
            found.append((one.strip(" *\n"), ctypes.c_void_p if pointer else kinds[kind]))
    return found


def test_the_layout_of_what_a_worker_shares():
    from rtsr.daemon.native_worker import Ends, Numbers

    assert [tuple(field) for field in Ends._fields_] == structure("rtsr_worker.h", "rtsr_shared_block")
    assert [tuple(field) for field in Numbers._fields_] == structure("rtsr_worker.h", "rtsr_worker_report")


def test_the_numbers_of_the_c_abi():
    from rtsr.backend import native

    text = (NATIVE / "include" / "rtsr.h").read_text()
    statuses = {name: int(value) for name, value in re.findall(r"RTSR_([A-Z0-9_]+)\s*=\s*(\d+)", text)}
    for name in ("OK", "MISSING", "CORRUPT", "INVALID"):
        assert statuses[name] == getattr(native, name)
    assert [statuses[name.upper()] for name in native.PRECISIONS] == [0, 1, 2]
    assert set(native.NAMES.values()) == set(native.PRECISIONS)
    version = re.search(r"project\(rtsr VERSION ([\d.]+)", (NATIVE / "CMakeLists.txt").read_text())
    assert version is not None
    assert version[1].startswith(native.VERSION)


def test_the_words_of_a_manifest():
    from rtsr.net.model import NetConfig
    from rtsr.spec import Spec

    text = (NATIVE / "src" / "manifest.cpp").read_text()
    known = [re.findall(r'"(\w+)"', words) for words in re.findall(r"only\(json, {(.*?)}\)", text, re.DOTALL)]
    assert known == [[f.name for f in fields(kind)] for kind in (Spec, NetConfig)]


def test_the_synthesis_windows_of_a_manifest():
    from rtsr.dsp.windows import SYNTHESIS

    text = (NATIVE / "src" / "frames.hpp").read_text()
    assert re.findall(r'WINDOW = "([^"]+)"', text) == list(SYNTHESIS)
