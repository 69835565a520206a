"""Weight files: a manifest, the tensors and the ONNX export, each named and checked by its content's hash.

No pickle anywhere, and no torch until `network` is called.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dsp.windows import synthesis_window
from ..errors import CorruptWeights, InvalidSetting, UnknownName
from ..spec import Spec

if TYPE_CHECKING:
    from .model import BandNet

SHIPPED = Path(__file__).parent / "weights"
FORMAT = 2  # 1 wrote spectra, 2 writes envelopes
HASH_IN_NAME = 12


def shipped() -> list[str]:
    """Return the names of the models in the package."""
    return sorted(p.stem for p in SHIPPED.glob("*.json"))


@dataclass(frozen=True, slots=True)
class Weights:
    """A model on disk: `manifest` as read from `path`, `folder` with the files it names."""

    name: str
    folder: Path
    manifest: dict[str, Any]
    path: Path

    @classmethod
    def find(cls, name_or_path: str | Path) -> Weights:
        """Open the manifest of a shipped model by name, or any by its path. Raises `UnknownName`, `CorruptWeights`."""
        path = Path(name_or_path)
        if path.suffix != ".json":
            path = SHIPPED / f"{name_or_path}.json"
        if not path.is_file():
            if name_or_path and Path(name_or_path).is_dir():
                raise InvalidSetting(
                    f"expected a model's name or the path of its manifest, got the folder {name_or_path}: "
                    "rtsr export makes a model of a training run"
                )
            raise UnknownName("model", str(name_or_path), shipped())
        try:
            manifest = json.loads(path.read_text())
            if manifest["format"] != FORMAT:
                raise CorruptWeights(f"{path}: expected format {FORMAT}, got {manifest['format']}")
            weights = cls(manifest["name"], path.parent, manifest, path)
            weights._check()
        except (ValueError, KeyError, TypeError, AttributeError, InvalidSetting, UnknownName) as error:
            raise CorruptWeights(f"{path} is no manifest of a model: {error!r}") from error
        return weights

    def _check(self) -> None:
        """Touch everything that will be needed, so that a damaged manifest is found when it is opened."""
        if not (self.spec.rate and self.state_shapes and isinstance(self.name, str)):
            raise ValueError("no rate, no states or no name")
        synthesis_window(self.spec)
        for entry in self.manifest["files"].values():
            if not (isinstance(entry["file"], str) and len(entry["sha256"]) == hashlib.sha256().digest_size * 2):
                raise ValueError(f"no file and hash in {entry}")

    @property
    def spec(self) -> Spec:
        """Sizes and rates of the model."""
        return Spec(**self.manifest["net"]["spec"])

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of every state."""
        return {name: tuple(shape) for name, shape in self.manifest["states"].items()}

    def onnx_bytes(self) -> bytes:
        """Read the ONNX export, checked."""
        return self._read("onnx")

    def network(self) -> BandNet:
        """Build the torch network with these weights, checked."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        from .model import BandNet, NetConfig

        content = self._read("safetensors")
        try:
            net = BandNet(NetConfig.from_dict(self.manifest["net"]))
            net.load_state_dict(load(content))
        except (RuntimeError, TypeError, ValueError, SafetensorError) as error:
            raise CorruptWeights(f"{self.name}: the weights are not those of the network in its manifest") from error
        return net

    def _read(self, kind: str) -> bytes:
        entry = self.manifest["files"].get(kind)
        if entry is None:
            raise CorruptWeights(f"{self.name}: its manifest names no {kind} file")
        path = self.folder / Path(entry["file"]).name
        if not path.is_file():
            raise CorruptWeights(f"{self.name}: {path} is missing; install rtsr again")
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != entry["sha256"]:
            raise CorruptWeights(
                f"{path} does not match its manifest: expected sha256 {entry['sha256']}, got {found}; "
                "install rtsr again"
            )
        return content


def write(name: str, folder: Path, contents: dict[str, bytes], manifest: dict[str, Any]) -> Path:
    """Write each content as NAME-HASH.KIND and the manifest that ties them together; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for kind, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        file = f"{name}-{digest[:HASH_IN_NAME]}.{kind}"
        (folder / file).write_bytes(content)
        files[kind] = {"file": file, "sha256": digest}
    path = folder / f"{name}.json"
    whole = {"format": FORMAT, "name": name, "files": files, **manifest}
    path.write_text(json.dumps(whole, indent=2) + "\n")
    return path
