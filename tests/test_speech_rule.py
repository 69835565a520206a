"""The rule in speech.py: where speech is, no test that needs it may be skipped; where it is not, it may."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile  # noqa: F401  loaded before, or each run within a run loads it again

PLUGIN = Path(__file__).with_name("speech.py").read_text()
SKIPS = "import pytest\n@pytest.mark.needs_speech\ndef test_x():\n    pytest.skip('for no reason')\n"
READS = "import pytest\n@pytest.mark.needs_speech\ndef test_x(speech):\n    assert len(speech(1.0)) == 16000\n"


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("RTSR_SPEECH", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest(PLUGIN)
    return pytester


def result(inner: pytest.Pytester, code: str) -> dict[str, int]:
    inner.makepyfile(code)
    return inner.runpytest_inprocess("-p", "no:cacheprovider").parseoutcomes()


def test_a_skip_is_a_skip_where_there_is_no_speech(inner):
    assert result(inner, SKIPS) == {"skipped": 1}


def test_a_skip_is_a_failure_where_there_is_speech(inner, monkeypatch, tmp_path):
    monkeypatch.setenv("RTSR_SPEECH", str(tmp_path))
    assert result(inner, SKIPS) == {"failed": 1}


def test_a_test_without_the_mark_may_be_skipped_anywhere(inner, monkeypatch, tmp_path):
    monkeypatch.setenv("RTSR_SPEECH", str(tmp_path))
    assert result(inner, SKIPS.replace("@pytest.mark.needs_speech\n", "")) == {"skipped": 1}


def test_speech_is_skipped_where_there_is_none(inner):
    assert result(inner, READS) == {"skipped": 1}


@pytest.mark.parametrize("manifest", [None, "file,split,rate\n", "file,split,rate\nno.flac,valid,16000\n"])
def test_speech_that_cannot_be_read_is_a_failure(inner, monkeypatch, tmp_path, manifest):
    monkeypatch.setenv("RTSR_SPEECH", str(tmp_path))
    if manifest is not None:
        (tmp_path / "manifest.csv").write_text(manifest)
    assert set(result(inner, READS)) <= {"failed", "errors"}


def test_a_missing_package_is_a_skip_at_home_and_a_failure_in_ci(inner, monkeypatch):
    code = "import conftest\ndef test_x():\n    conftest.missing('torch')\n"
    monkeypatch.delenv("CI", raising=False)
    assert result(inner, code) == {"skipped": 1}
    monkeypatch.setenv("CI", "true")
    assert result(inner, code) == {"failed": 1}
