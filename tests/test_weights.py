"""A weight file is used only if it is the one that its manifest means."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rtsr.backend import load
from rtsr.errors import BackendFailed, CorruptWeights, UnknownName
from rtsr.net.weights import SHIPPED, Weights, shipped, write
from rtsr.spec import Spec

KIND = {"native": "safetensors", "ort": "onnx", "eager": "safetensors"}
BACKENDS = sorted(KIND)


@pytest.fixture
def copy(model_path: Path, tmp_path: Path) -> Path:
    """A copy of the small model that a test may damage; returns the manifest's path."""
    shutil.copytree(model_path.parent, tmp_path / "copy")
    return tmp_path / "copy" / model_path.name


def edit(path: Path, change) -> None:
    """Change the manifest's values in place."""
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def swap(path: Path, kind: str, content: bytes) -> None:
    """Put other content behind a manifest, with a hash that fits."""
    manifest = json.loads(path.read_text())
    manifest["files"][kind]["sha256"] = hashlib.sha256(content).hexdigest()
    (path.parent / manifest["files"][kind]["file"]).write_bytes(content)
    path.write_text(json.dumps(manifest))


def test_the_shipped_model_is_whole():
    assert shipped() == ["voice-16k", "voice-16k-small", "voice-48k", "voice-48k-small"]
    for name in shipped():
        weights = Weights.find(name)
        assert weights.name == name
        for kind, entry in weights.manifest["files"].items():
            content = (SHIPPED / entry["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == entry["sha256"]
            assert entry["file"] == f"{name}-{entry['sha256'][:12]}.{kind}"
        assert not [p for p in SHIPPED.iterdir() if p.suffix in (".pt", ".pth", ".pkl", ".pickle", ".bin")]


@pytest.mark.parametrize(
    ("name", "macs_per_s"),
    [
        ("voice-16k", 350_000_000),
        ("voice-16k-small", 350_000_000 / 4),
        ("voice-48k", 700_000_000),
        ("voice-48k-small", 700_000_000 / 4),
    ],
)
def test_a_shipped_model_keeps_to_its_budget(name, macs_per_s):
    weights = Weights.find(name)
    assert weights.manifest["parameters"] <= 3_000_000
    assert weights.manifest["macs_per_s"] <= macs_per_s
    assert 1000 * weights.spec.latency / weights.spec.rate == 10
    assert weights.spec.hop_ms == 5


def test_a_manifest_says_what_the_model_is(model_path):
    weights = Weights.find(model_path)
    assert weights.spec == Spec()
    network = weights.network()
    assert weights.state_shapes == network.state_shapes()
    assert weights.manifest["parameters"] == sum(p.numel() for p in network.parameters())
    assert weights.manifest["card"]["licence"]


def test_a_manifest_names_a_window_that_there_is(copy):
    manifest = json.loads(copy.read_text())
    assert manifest["net"]["spec"]["window"] == "sqrt-hann"
    manifest["net"]["spec"]["window"] = "hann"
    copy.write_text(json.dumps(manifest))
    with pytest.raises(CorruptWeights, match="no synthesis window named 'hann'") as refused:
        Weights.find(copy)
    assert "\n" not in str(refused.value)


def test_files_are_named_by_their_content(tmp_path):
    manifest = {"net": {"spec": {}}, "states": {"memory": [1, 2]}}
    path = write("some", tmp_path / "deep" / "folder", {"onnx": b"abc"}, manifest)
    assert path == tmp_path / "deep" / "folder" / "some.json"
    digest = hashlib.sha256(b"abc").hexdigest()
    assert (path.parent / f"some-{digest[:12]}.onnx").read_bytes() == b"abc"
    assert Weights.find(path).onnx_bytes() == b"abc"
    assert Weights.find(str(path)).name == "some"


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_changed_bit_is_found(copy, backend):
    file = copy.parent / json.loads(copy.read_text())["files"][KIND[backend]]["file"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptWeights, match=r"expected sha256 .*got .*install rtsr again"):
        load(copy, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_truncated_file_is_found(copy, backend):
    file = copy.parent / json.loads(copy.read_text())["files"][KIND[backend]]["file"]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptWeights, match="sha256"):
        load(copy, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_missing_file_is_named(copy, backend):
    file = copy.parent / json.loads(copy.read_text())["files"][KIND[backend]]["file"]
    file.unlink()
    with pytest.raises(CorruptWeights, match=rf"{file.name} is missing"):
        load(copy, backend)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "{}", '{"format": 1}', '{"format": 2, "name": "x"}', '{"format": "1"}', "\xff"]
)
def test_a_manifest_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptWeights, match=r"bad\.json"):
        Weights.find(path)


@pytest.mark.parametrize("backend", ["null", *BACKENDS])
@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("net"),
        lambda m: m["net"].pop("spec"),
        lambda m: m["net"]["spec"].update(unheard_of=3),
        lambda m: m["net"]["spec"].update(hop=81),
    ],
    ids=["no net", "no spec", "unknown size", "sizes that do not fit"],
)
def test_a_manifest_without_sizes_is_corrupt(copy, backend, change):
    edit(copy, change)
    with pytest.raises(CorruptWeights):
        load(copy, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "change",
    [
        lambda m, kind: m.pop("files"),
        lambda m, kind: m["files"].pop(kind),
        lambda m, kind: m["files"][kind].pop("sha256"),
        lambda m, kind: m["files"][kind].pop("file"),
    ],
    ids=["no files", "not this file", "no hash", "no name"],
)
def test_a_manifest_without_files_is_corrupt(copy, backend, change):
    edit(copy, lambda m: change(m, KIND[backend]))
    with pytest.raises(CorruptWeights):
        load(copy, backend)


def test_a_manifest_without_states_is_corrupt(copy):
    edit(copy, lambda m: m.pop("states"))
    with pytest.raises(CorruptWeights):
        load(copy, "ort")


def test_weights_of_another_network_are_corrupt(copy):
    edit(copy, lambda m: m["net"].update(widths=[32, 24, 8]))
    with pytest.raises(CorruptWeights):
        load(copy, "eager")


def test_content_that_is_no_network_is_refused_even_if_the_hash_fits(copy):
    swap(copy, "onnx", b"not an onnx file")
    with pytest.raises((CorruptWeights, BackendFailed), match="random-16k"):
        load(copy, "ort")
    swap(copy, "safetensors", b"not tensors")
    with pytest.raises(CorruptWeights):
        load(copy, "eager")


@pytest.mark.parametrize("elsewhere", ["../outside.onnx", "/etc/passwd", "..", ".", "", "a/../../outside.onnx"])
def test_a_manifest_cannot_reach_out_of_its_folder(copy, elsewhere):
    content = b"outside"
    (copy.parent.parent / "outside.onnx").write_bytes(content)
    edit(copy, lambda m: m["files"]["onnx"].update(file=elsewhere, sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(CorruptWeights, match="missing"):
        Weights.find(copy).onnx_bytes()


@pytest.mark.parametrize("name", ["voice-16", "nothing", "../../spec", "", "no/such/file.json", "voice-16k.onnx"])
def test_an_unknown_model_lists_those_there_are(name):
    with pytest.raises(UnknownName, match=r"There are: .*voice-16k") as caught:
        load(name)
    assert caught.value.known == shipped()


def test_weights_are_read_back_as_they_were(model_path):
    from rtsr.net.export import export

    network = Weights.find(model_path).network()
    again = export(network, "again", model_path.parent / "again", {})
    first, second = (Weights.find(p).manifest["files"]["safetensors"]["sha256"] for p in (model_path, again))
    assert first == second
    for name, tensor in Weights.find(again).network().state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), network.state_dict()[name].numpy())
