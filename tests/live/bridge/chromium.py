"""Headless Chromium, with a recorded voice as its microphone, and what tests do with the bridge's page in it."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from tests.live.bridge.listening import at_48k, demo_voice
from tests.speech import missing

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--autoplay-policy=no-user-gesture-required"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
RECORD = """async (seconds) => {
  const context = new AudioContext({ sampleRate: 48000 }), parts = [];
  const source = context.createMediaStreamSource(document.querySelector("audio").srcObject);
  const node = context.createScriptProcessor(4096, 1, 1);
  node.onaudioprocess = (event) => parts.push(new Float32Array(event.inputBuffer.getChannelData(0)));
  source.connect(node);
  node.connect(context.destination);
  await new Promise((done) => setTimeout(done, 1000 * seconds));
  node.disconnect();
  source.disconnect();
  await context.close();
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}"""


@contextmanager
def chromium(folder: Path, *more: str, namespace: str = "") -> Iterator[object]:
    """Playwright and a browser, which `launch` is told of. Playwright can be had once at a time."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright")
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium, folder, *more, namespace=namespace)
        yield browser
        browser.close()


def launch(kind, folder: Path, *more: str, namespace: str = ""):
    """Start Chromium with some flags more, in a network namespace where one is named.

    Its microphone says the bundled telephone prompt over and over.
    """
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        missing("chromium")
    if namespace:
        inside = folder / "chromium"
        inside.write_text(f'#!/bin/sh\nexec ip netns exec {namespace} {program} "$@"\n')
        inside.chmod(0o755)
        program = str(inside)
    voice = folder / "voice.wav"
    soundfile.write(voice, at_48k(demo_voice(), 8_000), 48_000, subtype="PCM_16")
    return kind.launch(executable_path=program, args=[*FLAGS, f"--use-file-for-fake-audio-capture={voice}", *more])


def join(page, room: str, codec: str = "") -> None:
    page.fill("#room", room)
    page.fill("#name", f"in {codec or 'opus'}")
    page.select_option("#codec", codec)
    page.check("#headphones")
    page.click("#join")
    wait_for(page, "#speakers li")


def wait_for(page, selector: str) -> None:
    page.wait_for_selector(selector)


def record(page, seconds: float) -> np.ndarray:
    return np.frombuffer(base64.b64decode(page.evaluate(RECORD, seconds)), np.float32)


def high_share_db(sound: np.ndarray) -> float:
    power, hz = np.abs(np.fft.rfft(sound)) ** 2, np.fft.rfftfreq(len(sound), 1 / 48_000)
    return float(10 * np.log10(power[(hz > 4_500) & (hz < 7_500)].sum() / power[(hz > 300) & (hz < 3_400)].sum()))
