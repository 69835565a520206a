// Players that switch between versions of one recording at the same position. All versions run together, and only one is
// audible, so that a change is heard at once and nowhere else. Without this file, each version has a player of the browser.
"use strict";

const STEP_S = 0.5;
const FADE_S = 0.005;
const NAMES = { before: "Before", after: "After", true: "True" };
let context = null;
let playing = null;

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

class Player {
  constructor(figure, number) {
    this.figure = figure;
    this.title = figure.dataset.title;
    this.version = "after";
    this.position = 0;
    this.length = 0;
    this.nodes = new Map();
    const parts = [...figure.querySelectorAll("[data-version]")];
    this.sources = new Map(parts.map((part) => [part.dataset.version, part.querySelector("audio").src]));
    this.images = new Map(parts.map((part) => [part.dataset.version, part.querySelector("img")]));
    this.build(number);
    this.listen();
    this.choose(this.version);
  }

  build(number) {
    this.head = element("div", { className: "head" });
    this.picture = element("div", { className: "picture", tabIndex: 0 }, ...this.images.values(), this.head);
    const name = `Position in ${this.title}`;
    for (const [key, value] of Object.entries({ role: "slider", "aria-label": name, "aria-valuemin": 0 })) {
      this.picture.setAttribute(key, value);
    }
    this.button = element("button", { type: "button", className: "play" });
    this.radios = Object.entries(NAMES).map(([value, label]) => {
      const radio = element("input", { type: "radio", name: `version-${number}`, value });
      return [radio, element("label", {}, radio, element("span", { textContent: label }))];
    });
    const legend = element("legend", { textContent: `Version of ${this.title}` });
    this.choice = element("fieldset", {}, legend, ...this.radios.map(([, label]) => label));
    this.time = element("output", {});
    const controls = element("div", { className: "controls" }, this.button, this.choice, this.time);
    const axis = element("div", { className: "axis", ariaHidden: "true" });
    axis.append(...["8 kHz", "4", "0"].map((text) => element("span", { textContent: text })));
    this.figure.querySelector(".versions").replaceWith(element("div", { className: "view" }, axis, this.picture), controls);
    this.show();
  }

  listen() {
    this.button.addEventListener("click", () => this.toggle());
    this.choice.addEventListener("change", (event) => this.choose(event.target.value));
    this.figure.addEventListener("keydown", (event) => this.key(event));
    this.picture.addEventListener("pointerdown", (event) => {
      this.picture.setPointerCapture(event.pointerId);
      this.point(event);
    });
    this.picture.addEventListener("pointermove", (event) => {
      if (this.picture.hasPointerCapture(event.pointerId)) this.point(event);
    });
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const names = Object.keys(NAMES);
    if (names["123".indexOf(event.key)]) this.choose(names[Number(event.key) - 1]);
    else if (event.target !== this.picture) return;
    else if (event.key === " " || event.key === "Enter") this.toggle();
    else if (event.key === "ArrowLeft" || event.key === "ArrowDown") this.seek(this.now() - STEP_S);
    else if (event.key === "ArrowRight" || event.key === "ArrowUp") this.seek(this.now() + STEP_S);
    else if (event.key === "Home") this.seek(0);
    else if (event.key === "End") this.seek(this.length);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the site has keys of its own
  }

  async point(event) {
    const box = this.picture.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    if (await this.load()) this.seek(share * this.length);
  }

  // Fetches and decodes all versions, once; false where that fails.
  load() {
    this.loading ??= this.fetch().catch((error) => {
      this.loading = undefined;
      this.time.textContent = `cannot be played: ${error.message}`;
      return false;
    });
    return this.loading;
  }

  async fetch() {
    context ??= new AudioContext();
    const decoded = [...this.sources].map(async ([name, url]) => {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`${response.status} for ${url}`);
      return [name, await context.decodeAudioData(await response.arrayBuffer())];
    });
    this.buffers = new Map(await Promise.all(decoded));
    this.length = Math.min(...[...this.buffers.values()].map((buffer) => buffer.duration));
    this.show();
    return true;
  }

  now() {
    return this.nodes.size ? Math.min(this.length, context.currentTime - this.began) : this.position;
  }

  async toggle() {
    if (this.nodes.size) {
      this.pause();
      return;
    }
    if (!(await this.load())) return;
    if (playing && playing !== this) playing.pause();
    await context.resume();
    if (!this.nodes.size) this.start();
  }

  start() {
    playing = this;
    if (this.position >= this.length - FADE_S) this.position = 0;
    this.began = context.currentTime - this.position;
    for (const [name, buffer] of this.buffers) {
      const source = new AudioBufferSourceNode(context, { buffer });
      const gain = new GainNode(context, { gain: name === this.version ? 1 : 0 });
      source.connect(gain).connect(context.destination);
      source.start(0, this.position);
      this.nodes.set(name, { source, gain });
    }
    this.show();
    this.tick();
  }

  stop() {
    this.position = this.now();
    for (const { source, gain } of this.nodes.values()) {
      source.stop();
      gain.disconnect();
    }
    this.nodes.clear();
  }

  pause() {
    this.stop();
    this.show();
  }

  seek(to) {
    const runs = this.nodes.size > 0;
    this.stop();
    this.position = Math.max(0, Math.min(this.length, to));
    if (runs) this.start();
    this.show();
  }

  choose(version) {
    this.version = version;
    for (const [name, image] of this.images) image.hidden = name !== version;
    for (const [radio] of this.radios) radio.checked = radio.value === version;
    for (const [name, { gain }] of this.nodes) {
      gain.gain.setTargetAtTime(name === version ? 1 : 0, context.currentTime, FADE_S);
    }
    this.show();
  }

  tick() {
    if (!this.nodes.size) return;
    if (this.now() >= this.length) {
      this.stop();
      this.position = 0;
    }
    this.show();
    requestAnimationFrame(() => this.tick());
  }

  show() {
    const runs = this.nodes.size > 0, now = this.now();
    if (this.button.dataset.runs !== String(runs)) {
      this.button.dataset.runs = runs;
      this.button.setAttribute("aria-label", `${runs ? "Pause" : "Play"} ${this.title}`);
    }
    this.head.style.left = `${this.length ? (100 * now) / this.length : 0}%`;
    const text = this.length ? `${now.toFixed(1)} of ${this.length.toFixed(1)} s` : "";
    const told = `${text || "not loaded"}, ${NAMES[this.version]}`;
    if (this.picture.getAttribute("aria-valuetext") === told) return;
    this.time.textContent = text;
    this.picture.setAttribute("aria-valuemax", this.length.toFixed(1));
    this.picture.setAttribute("aria-valuenow", now.toFixed(1));
    this.picture.setAttribute("aria-valuetext", told);
  }
}

document.querySelectorAll("figure.player").forEach((figure, number) => new Player(figure, number));
