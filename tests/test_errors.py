"""Every error that rtsr raises on purpose has one root and says what to do."""

from __future__ import annotations

import inspect

import pytest

import rtsr
from rtsr import errors
from rtsr.backend import load

TREE = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_has_one_root_a_promise_and_is_public(kind):
    assert issubclass(kind, errors.RtsrError)
    assert len(kind.__doc__) > 20
    assert getattr(rtsr, kind.__name__) is kind


def test_the_root_is_no_other_libraries_error():
    assert errors.RtsrError.__bases__ == (Exception,)


def test_a_missing_package_is_named_with_its_cure():
    error = errors.MissingDependency("torch", "train", "training")
    assert str(error) == "training needs torch: install it with  pip install 'rtsr[train]'"
    assert (error.package, error.extra) == ("torch", "train")


def test_an_unknown_name_lists_those_there_are_and_the_closest():
    error = errors.UnknownName("model", "voice-16", ["voice-48k", "voice-16k"])
    assert str(error) == "no model named 'voice-16'. Did you mean 'voice-16k'? There are: voice-16k, voice-48k"
    assert error.known == ["voice-16k", "voice-48k"]


def test_an_unknown_name_like_no_other_gets_no_hint():
    assert "Did you mean" not in str(errors.UnknownName("model", "xyz", ["voice-16k"]))
    assert str(errors.UnknownName("model", "xyz", [])).endswith("There are: none")


def test_an_unknown_backend_is_refused_by_name(model_path):
    with pytest.raises(errors.UnknownName, match=r"'orr'.*auto, eager, .*null, ort"):
        load(model_path, "orr")


@pytest.mark.parametrize(("backend", "package", "extra"), [("ort", "onnxruntime", "cpu"), ("eager", "torch", "train")])
def test_a_backend_without_its_package_says_what_to_install(monkeypatch, model_path, backend, package, extra):
    found = rtsr.backend.importlib.util.find_spec
    monkeypatch.setattr(rtsr.backend.importlib.util, "find_spec", lambda n: None if n == package else found(n))
    with pytest.raises(errors.MissingDependency, match=rf"rtsr\[{extra}\]"):
        load(model_path, backend)


def test_auto_takes_ort_then_torch_then_says_what_to_install(monkeypatch, model_path):
    there = {"onnxruntime", "torch"}
    monkeypatch.setattr(rtsr.backend.native, "library", lambda: None)
    monkeypatch.setattr(rtsr.backend.importlib.util, "find_spec", lambda name: name if name in there else None)
    assert load(model_path).name == "ort"
    there.remove("onnxruntime")
    assert load(model_path).name == "eager"
    there.clear()
    with pytest.raises(errors.MissingDependency, match=r"rtsr\[cpu\]"):
        load(model_path)
