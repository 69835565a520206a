"""What a run leaves in its folder."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("tensorboard", reason="training needs tensorboard")

from rtsr.errors import InvalidSetting  # noqa: E402
from rtsr.runs import CHECKPOINT  # noqa: E402
from rtsr.train import loop  # noqa: E402
from rtsr.train.recipes import RECIPES  # noqa: E402


def test_a_checkpoint_is_of_files_that_are_small_and_those_of_one_step(tmp_path):
    """The largest recipe; a crash in between leaves the last one whole."""
    run = loop.Run(replace(RECIPES["voice-48k"], transfers_from=None), tmp_path, torch.device("cpu"))
    for step in (1, 2):
        run.step = step
        run.save()
    files = [path.name for path in tmp_path.iterdir()]
    assert len(files) == 5
    assert {name.split("-")[1] for name in files if name != CHECKPOINT} == {"2"}
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 16 * 2**20
    (tmp_path / "checkpoint-3-net.pt").write_bytes(b"the beginning of another")
    run.resume()
    assert run.step == 2
    (tmp_path / "checkpoint-2-net.pt").unlink()
    with pytest.raises(InvalidSetting, match=r"broken.*No such file"):
        run.resume()
