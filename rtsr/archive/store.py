"""A folder of recordings on a disk or in an object store, by its path or URL; what is written is whole or not there."""

from __future__ import annotations

import io
import re
import secrets
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec

from ..errors import InvalidSetting, MissingDependency
from ..io.file import FORMATS

OF_ARROW = ("s3", "gs")  # pyarrow, which Ray Data brings, reads and writes these without a further package
WHOLE_BY_NATURE = ("s3", "gs", "gcs", "abfs", "az")  # an object appears when all of it is there
PART = re.compile(r"\.[0-9a-f]{16}\.part$")
CHUNK = 1 << 20


class Store:
    """What is below a path or a URL; names are relative to it, with slashes. Errors of the store are `OSError`."""

    def __init__(self, url: str) -> None:
        """Open it; raises `InvalidSetting` for a URL that cannot be, `MissingDependency` where a package is missing."""
        self.url = url
        self.scheme = url.partition("://")[0].lower() if "://" in url else "file"
        self.fs, root = _open(self.scheme, url)
        self.root = root.rstrip("/") or "/"
        self.is_local = self.scheme in ("file", "local")

    def path(self, name: str) -> str:
        """Return where a name lies, as the file system has it."""
        return f"{self.root.rstrip('/')}/{name}"

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of every file, by name; nothing where there is no such folder."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.find(self.root, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self.path(""))
        return {str(path)[start:]: int(info["size"]) for path, info in found.items() if len(str(path)) > start}

    def top(self) -> list[str]:
        """Return the names of what lies in the folder itself."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.root, detail=False)
        except FileNotFoundError:
            return []
        return [str(path).rpartition("/")[2] for path in found]

    def audio(self) -> dict[str, int]:
        """Return the size of every audio file, by name, sorted."""
        return {name: size for name, size in sorted(self.sizes().items()) if Path(name).suffix.lower() in FORMATS}

    def fetch(self, name: str, folder: Path) -> Path:
        """Return a file on this machine: the file itself where it is on a disk, otherwise a copy in `folder`."""
        if self.is_local:
            return Path(self.path(name))
        here = folder / Path(name).name
        with self.fs.open(self.path(name), "rb") as there, here.open("wb") as copy:
            shutil.copyfileobj(there, copy, CHUNK)
        return here

    def place(self, name: str, folder: Path) -> Path:
        """Return where to make a file that `publish` will take: its own place on a disk, otherwise in `folder`."""
        return Path(self.path(name)) if self.is_local else folder / Path(name).name

    def publish(self, made: Path, name: str) -> None:
        """Give a whole file of this machine its name here; nothing is to be done where it was made in its place."""
        if self.is_local:
            return
        with made.open("rb") as file:
            self._write(file, name)

    def write(self, content: bytes, name: str) -> None:
        """Write a small file as a whole, in the place of what is there."""
        if self.is_local:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            part = Path(self.root) / f".{secrets.token_hex(8)}.part"
            part.write_bytes(content)
            part.replace(self.path(name))
            return
        self._write(io.BytesIO(content), name)

    def _write(self, content: Any, name: str) -> None:
        target = self.path(name)
        part = target
        if self.scheme not in WHOLE_BY_NATURE:
            part = f"{target}.{secrets.token_hex(8)}.part"
            self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        with self.fs.open(part, "wb") as there:
            shutil.copyfileobj(content, there, CHUNK)
        if part != target:
            self.fs.mv(part, target)

    def read(self, name: str) -> bytes | None:
        """Return a small file as it is now, or None where it is not there."""
        self.fs.invalidate_cache()
        try:
            with self.fs.open(self.path(name), "rb") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        """Whether a file is there now."""
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.path(name)))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.fs.rm_file(self.path(name))

    def sweep(self) -> None:
        """Remove what a killed run left half written."""
        for name in self.sizes():
            if PART.search(name):
                self.remove(name)


def _open(scheme: str, url: str) -> tuple[Any, str]:
    try:
        if scheme in OF_ARROW:
            from fsspec.implementations.arrow import ArrowFSWrapper
            from pyarrow.fs import FileSystem

            system, root = FileSystem.from_uri(quote(url, safe="/:?&=%@"))
            return ArrowFSWrapper(system, skip_instance_cache=True), root
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingDependency(error.name or f"fsspec's file system for {scheme}://", "archive", url) from error
    except ValueError as error:
        raise InvalidSetting(f"expected a folder or the URL of one, got {url}: {error}") from error
