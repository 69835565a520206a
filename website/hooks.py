"""Hooks of MkDocs: documents that lie outside docs/, the home page, links between them, generated pages."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from website import pages, reference, sounds

SOUNDS = pages.ROOT / "build" / "sounds"
ASSETS = Path(__file__).resolve().parent / "assets"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie in docs/."""
    texts = {uri: (pages.ROOT / path).read_text() for path, uri in pages.ELSEWHERE.items()}
    texts |= {"index.md": pages.home()} | reference.pages()
    for uri, text in texts.items():
        files.append(File.generated(config, uri, content=text))
    for name in sounds.files():
        files.append(_copied(config, f"assets/sounds/{name}", SOUNDS / name))
    for path in sorted(ASSETS.iterdir()):
        files.append(_copied(config, f"assets/{path.name}", path))
    return files


def _copied(config: MkDocsConfig, uri: str, path: Path) -> File:
    if not path.is_file():
        raise PluginError(f"expected {path}: python -m website.sounds {SOUNDS} writes it")
    return File.generated(config, uri, abs_src_path=str(path))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links as they are on GitHub into those of the site."""
    uri = page.file.src_uri
    if uri == "index.md" or uri in pages.GENERATED:
        return markdown
    return pages.for_site(markdown, pages.source_of(uri), uri)
