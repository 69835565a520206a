"""The built site on a port of its own, and Chromium, which keeps a list of what it asks for."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

SITE = Path(__file__).resolve().parents[2] / "build" / "site"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
LISTEN = """(() => {  // what is played is analysed on its way
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode) {
      window.analyser ??= new AnalyserNode(this.context, { fftSize: 4096, smoothingTimeConstant: 0 });
      connect.call(this, window.analyser);
    }
    return connect.call(this, to, ...rest);
  };
})()"""


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Where the site is served."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(SITE))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "chromium is needed: apt-get install chromium, or name it in CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def watched(context: BrowserContext, url: str) -> tuple[Page, list[str]]:
    """A page, and what goes wrong on it: requests to others, failed ones, errors of scripts."""
    page, wrong = context.new_page(), []
    page.set_default_timeout(10_000)
    page.on("request", lambda request: request.url.startswith((url, "blob:", "data:")) or wrong.append(request.url))
    page.on("response", lambda response: response.status < 400 or wrong.append(f"{response.status} {response.url}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: message.type != "error" or wrong.append(message.text))
    return page, wrong


@pytest.fixture
def home(browser: Browser, url: str) -> Iterator[Page]:
    """The home page on a desktop; afterwards nothing may have gone wrong on it."""
    context = browser.new_context(viewport=DESKTOP)
    context.add_init_script(LISTEN)
    page, wrong = watched(context, url)
    page.goto(url)
    yield page
    assert wrong == []
    context.close()


@pytest.fixture
def phone(browser: Browser, url: str) -> Iterator[Page]:
    """The same on a telephone, with touch."""
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    page, wrong = watched(context, url)
    page.goto(url)
    yield page
    assert wrong == []
    context.close()


def addresses() -> list[str]:
    """Every page of the site."""
    found = (path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    return sorted(re.sub(r"index\.html$", "", path) for path in found)
