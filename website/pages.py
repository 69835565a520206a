"""Which files of the checkout are pages of the site, and how links between them read there."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from website import sounds

ROOT = Path(__file__).resolve().parents[1]
CARDS = ("voice-16k", "voice-16k-small", "voice-48k", "voice-48k-small")
ELSEWHERE = {  # documents outside docs/, by their path in the checkout
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "contrib/README.md": "plug-ins.md",
    "contrib/container/README.md": "container.md",
    "native/README.md": "native.md",
    "rtsr/data/demo/README.md": "recordings/demo.md",
    "website/recordings/README.md": "recordings/others.md",
    **{f"rtsr/net/weights/{name}.md": f"models/{name}.md" for name in CARDS},
}
GENERATED = ("reference/python.md", "reference/cli.md", "reference/http.md", "reference/c.md")
HOME = "website/home.md"
LINK = re.compile(r"\[([^][]*)\]\(([^)\s#]+)((?:#[^)\s]*)?)\)")
SECTION = re.compile(r"^<!-- README: (.*) -->$", re.MULTILINE)


def source_of(uri: str) -> str:
    """Return the path in the checkout of a page of the site that is not generated."""
    return next((path for path, page in ELSEWHERE.items() if page == uri and uri != "index.md"), f"docs/{uri}")


def uri_of(path: str) -> str | None:
    """Return where a file of the checkout is on the site; None where it is not."""
    return ELSEWHERE.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)


def for_site(markdown: str, path: str, uri: str) -> str:
    """Return a document with its links as they are on the site; one to no page stays, and fails the build."""

    def link(match: re.Match[str]) -> str:
        text, there, anchor = match.groups()
        if "://" in there:
            return match[0]
        found = posixpath.normpath(posixpath.join(posixpath.dirname(path), there))
        page = uri_of(found)
        if page is None:
            return match[0]
        shown = title_of(found) if text.endswith(".md") else text
        return f"[{shown}]({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{anchor})"

    return LINK.sub(link, markdown)


def title_of(path: str) -> str:
    """Return the title of a document, up to a colon: what a link shows that shows a file's name on GitHub."""
    return (ROOT / path).read_text().split("\n", 1)[0].removeprefix("# ").split(":")[0]


def readme_section(heading: str) -> str:
    """Return what stands below a heading of the README, or its "first" or "second" paragraph."""
    parts = re.split(r"^##? (.*)\n", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    sections = dict(zip(["", *parts[3::2]], parts[2::2], strict=True))
    sections["first"], sections["second"] = sections.pop("").strip().split("\n\n")
    return sections[heading].strip()


def home() -> str:
    """Return the home page: website/home.md with the sections of the README that it names."""
    page = for_site((ROOT / HOME).read_text(), HOME, "index.md").replace("<!-- SOUNDS -->", sounds.html())
    return SECTION.sub(lambda match: for_site(readme_section(match[1]), "README.md", "index.md"), page)
