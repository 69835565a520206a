"""numba's cache, where a file compiles what another holds: a change of the other is noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from rtsr.io.compiled import drop_stale

ROOT = Path(__file__).parents[1]
CALLER = """
from numba import njit
import other
{drop}
@njit(cache=True)
def double() -> int:
    return 2 * other.NUMBER

print(double())
"""
DROP = "from rtsr.io.compiled import drop_stale; drop_stale(__file__, other.__file__)"


def printed(folder: Path, number: int, when_s: int) -> int:
    """What the caller prints where the other file says this, last changed then."""
    (folder / "other.py").write_text(f"NUMBER = {number}\n")
    os.utime(folder / "other.py", (when_s, when_s))
    root = str(Path(__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": f"{folder}:{root}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, folder / "caller.py"], env=env, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_numba_alone_does_not_notice_what_another_file_holds(tmp_path):
    """What `drop_stale` is for; where this fails, numba has learnt it, and it may go."""
    (tmp_path / "caller.py").write_text(CALLER.format(drop=""))
    assert [printed(tmp_path, 1, 10**9), printed(tmp_path, 2, 10**10)] == [2, 2]


def test_a_cache_older_than_what_is_compiled_in_is_dropped_and_else_kept(tmp_path):
    (tmp_path / "caller.py").write_text(CALLER.format(drop=DROP))
    assert printed(tmp_path, 1, 10**9) == 2
    (index,) = (tmp_path / "__pycache__").glob("caller.*.nbi")
    made = index.stat().st_mtime_ns
    assert printed(tmp_path, 1, 10**9) == 2
    assert index.stat().st_mtime_ns == made
    assert printed(tmp_path, 2, 10**10) == 4


def test_what_cannot_be_removed_stays(tmp_path):
    """As in an installation of another user; root may remove everything but a folder."""
    source = tmp_path / "caller.py"
    stays = tmp_path / "__pycache__" / "caller.double.nbi"
    stays.mkdir(parents=True)
    source.touch()
    drop_stale(str(source), str(source))
    assert stays.is_dir()


def test_where_numba_may_write_nowhere_it_has_a_temporary_folder_while_the_process_lives(tmp_path):
    package, temporary = tmp_path / "rtsr", tmp_path / "temporary"
    temporary.mkdir()
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("errors.py", "spec.py"):
        shutil.copy(ROOT / "rtsr" / name, package)
    shutil.copytree(ROOT / "rtsr" / "dsp", package / "dsp", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "dsp" / "__pycache__").touch()  # as on a read-only disk, no folder can be made of this name
    say = "import os, rtsr.dsp.mix; print(os.listdir(os.environ['TMPDIR']), os.environ['NUMBA_CACHE_DIR'])"
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    env |= {"PYTHONPATH": str(tmp_path), "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", say]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{temporary}/rtsr-numba-" in done.stdout
    assert not list(temporary.iterdir())
    env["NUMBA_CACHE_DIR"] = str(tmp_path / "named")
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", str(tmp_path / "named")]
