"""The page: plain files, read once, so that nothing else can ever be served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).resolve().parent
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page, in memory."""

    body: bytes
    kind: str

    async def serve(self, _: web.Request) -> web.Response:
        """Return it."""
        return web.Response(body=self.body, content_type=self.kind, charset="utf-8")


def files() -> dict[str, File]:
    """Return the files of the page by name; the name of the page itself is empty."""
    found = {
        path.name: File(path.read_bytes(), TYPES[path.suffix]) for path in FOLDER.iterdir() if path.suffix in TYPES
    }
    return {"": found["index.html"], **found}
