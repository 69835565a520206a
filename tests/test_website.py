"""The site without building it: every document is a page, every link has a target, no reference lacks a name."""

from __future__ import annotations

import posixpath
import re
import subprocess
from pathlib import Path

import pytest

import rtsr
from website import pages, reference, sounds

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))), *pages.ELSEWHERE, pages.HOME]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(path: str) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", (ROOT / path).read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_navigation_once():
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    documents = {pages.uri_of(path) for path in DOCUMENTS if path != pages.HOME}
    assert sorted(listed) == sorted({*documents, *pages.GENERATED})


def test_what_the_configuration_names_is_in_the_repository():
    named = re.findall(r"website/[\w./]+", (ROOT / "mkdocs.yml").read_text().split("site_name:")[1])
    assert "website/hooks.py" in named
    listed = subprocess.run(["git", "ls-files", *named], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for path in named:
        assert any(file == path or file.startswith(path + "/") for file in listed.stdout.splitlines()), path


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_link_has_a_target_here_and_on_the_site(path):
    text = FENCE.sub("", (ROOT / path).read_text())
    for _, link, anchor in pages.LINK.findall(text):
        if "://" in link:
            continue
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
        assert (ROOT / there).is_file(), link
        assert pages.uri_of(there), f"{link} is not on the site"
        assert not anchor or anchor[1:] in anchors(there), link + anchor
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in anchors(path), anchor


def test_links_between_documents_become_links_between_pages():
    text = "[sip.md](sip.md#settings) [card](../rtsr/net/weights/voice-16k.md) [x](https://example.org/a.md)"
    wanted = "[SIP](sip.md#settings) [card](models/voice-16k.md) [x](https://example.org/a.md)"
    assert pages.for_site(text, "docs/bridge.md", "bridge.md") == wanted
    assert pages.for_site("[a](../../docs/bridge.md)", "contrib/container/README.md", "x/y.md") == "[a](../bridge.md)"


def test_the_home_page_has_what_the_readme_says_and_the_sounds():
    home = pages.home()
    assert pages.readme_section("Latency and cost").split("\n")[0] in home
    assert "<!-- README" not in home
    assert "<!-- SOUNDS" not in home
    assert home.count('<figure class="player"') == len(sounds.SOUNDS)


@pytest.mark.parametrize("sound", sounds.SOUNDS, ids=lambda sound: sound.name)
def test_every_sound_has_its_recording_and_licence(sound):
    line = sounds.heard(sound)
    assert line.rate <= 8000
    assert 3 < len(line.truth) / sounds.RATE < 10
    card = (sounds.RECORDINGS if sound.name != "prompt" else sounds.PROMPT) / "README.md"
    assert sound.name in card.read_text()
    assert "Creative Commons" in card.read_text()
    assert "CC BY" in sound.licence


def test_the_reference_of_python_has_every_public_name():
    page = reference.python()
    for name in set(rtsr.__all__) - {"__version__"}:
        assert re.search(rf"^::: rtsr\.[\w.]*\b{name}$", page, re.MULTILINE), name


def test_the_reference_of_commands_has_every_option():
    page = reference.command_line()
    assert len(reference.commands()) > 10
    for name, command in reference.commands().items():
        section = page.split(f"\n## rtsr {name}\n")[1].split("\n## ")[0]
        assert all(opt in section for one in command.params if one.param_type_name == "option" for opt in one.opts)
        assert "object at" not in section


def test_the_reference_of_http_has_every_route_and_the_manual_names_each():
    manual = (ROOT / "docs" / "bridge.md").read_text()
    routes, page = reference.routes(), reference.http()
    assert len(routes) > 15
    for method, path, text in routes:
        assert f"`{method} {path}`" in page
        assert text.strip(), path
        if method in ("GET", "POST"):
            assert f"`{method} {path}`" in manual, f"docs/bridge.md does not name {method} {path}"


def test_the_reference_of_c_has_every_function_and_type():
    page = reference.c_api()
    for name in ("rtsr.h", "rtsr_worker.h"):
        header = (reference.HEADERS / name).read_text()
        functions = re.findall(r"^RTSR_API .*?(\w+)\(", header, re.MULTILINE)
        assert len(functions) > 10
        assert [f for f in functions if not re.search(rf"^### .*`{f}`", page, re.MULTILINE)] == []
        types = re.findall(r"^typedef (?:struct|enum) (\w+)", header, re.MULTILINE)
        assert [t for t in types if not re.search(rf"^### .*`{t}`", page, re.MULTILINE)] == []


def test_no_page_asks_another_host():
    for path in sorted((ROOT / "website" / "assets").iterdir()):
        assert "//" not in re.sub(r"^\s*//.*$|; //.*$", "", path.read_text(), flags=re.MULTILINE), path
