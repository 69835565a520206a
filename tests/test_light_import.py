"""`import rtsr` loads neither torch nor an audio library, and a voice is enhanced without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch",
    "onnxruntime",
    "onnx",
    "soundfile",
    "sounddevice",
    "pyaudio",
    "aiortc",
    "av",
    "matplotlib",
    "soxr",
    "tensorboard",
    "pesq",
    "pystoi",
    "typer",
)


def loaded(code: str, *arguments: str) -> set[str]:
    """Run code in a new interpreter and return the top-level modules it loaded."""
    list_modules = "\nimport sys; print('\\n'.join({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-c", code + list_modules, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_importing_rtsr_is_light():
    modules = loaded("import rtsr")
    assert "numpy" in modules
    assert modules.isdisjoint(HEAVY)


def test_sessions_and_weights_are_light():
    modules = loaded("import rtsr, rtsr.enhance, rtsr.io.ring, rtsr.net.weights; rtsr.net.weights.shipped()")
    assert modules.isdisjoint(HEAVY)


def test_a_voice_is_enhanced_without_torch(model_path):
    pytest.importorskip("onnxruntime", reason="the ort backend needs onnxruntime")
    code = """
import sys, numpy as np, rtsr
model = rtsr.load(sys.argv[1], "ort")
assert len(rtsr.enhance(np.ones(800, np.float32), 8000, model=model, cutoff=3000.0)) == 1600
"""
    modules = loaded(code, str(model_path))
    assert "onnxruntime" in modules
    assert "torch" not in modules
    assert modules.isdisjoint(set(HEAVY) - {"onnxruntime"})


def test_the_command_line_says_what_it_can_without_torch_or_audio_libraries():
    modules = loaded("from typer.testing import CliRunner; from rtsr import cli; import rtsr.cli.enhance")
    assert modules.isdisjoint({"torch", "soundfile", "sounddevice", "onnxruntime", "matplotlib"})


def test_the_check_sees_what_is_heavy():
    pytest.importorskip("soundfile")
    assert "soundfile" in loaded("import rtsr.io.file")
