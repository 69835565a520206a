// The page: a form, a call, and what is to be seen of it.

import { Call, Refused } from "./call.js";
import { View } from "./sound.js";

const POLL_MS = 500;
const $ = (id) => document.getElementById(id);
const state = { call: null, context: null, views: [], busy: false, said: "", failing: false };

function say(text, bad = false) {
  if (!bad) state.said = text;
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function constraints() {
  const wanted = !$("headphones").checked;
  const audio = { echoCancellation: wanted, noiseSuppression: wanted, autoGainControl: wanted, channelCount: 1 };
  if ($("microphone").value) audio.deviceId = { exact: $("microphone").value };
  return { audio };
}

async function listMicrophones() {
  const found = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === "audioinput" && d.deviceId);
  const chosen = $("microphone").value;
  const options = found.map((d, n) => new Option(d.label || `microphone ${n + 1}`, d.deviceId));
  $("microphone").replaceChildren(new Option("the default one", ""), ...options);
  $("microphone").value = found.some((d) => d.deviceId === chosen) ? chosen : "";
}

function explain(error) {
  if (error instanceof Refused && error.status === 401) {
    const given = $("token").value;
    return given ? "This bridge does not know that token. Ask who runs it for another." : "This bridge asks for a token.";
  }
  if (error instanceof Refused && error.status === 503) return `No room for one more call: ${error.message}. Try later.`;
  if (error.name === "NotAllowedError") return "The microphone was not allowed. Allow it in the browser's address bar.";
  if (error.name === "NotFoundError") return "No microphone was found. Plug one in, and join again.";
  if (error.name === "NotReadableError") return "Another program holds the microphone. Close it, and join again.";
  return error.message;
}

async function join(more = {}) {
  if (state.busy || state.call) return;
  state.busy = true;
  say("Connecting …");
  let call = null;
  try {
    if (!navigator.mediaDevices) throw new Error("A browser gives its microphone to https and localhost alone.");
    const microphone = await navigator.mediaDevices.getUserMedia(constraints());
    const options = { room: $("room").value, token: $("token").value, name: $("name").value, codec: $("codec").value, echo: false, ...more };
    call = state.call = new Call(microphone, options, { ended, trouble, renewed });
    await listMicrophones();
    await call.start();
    if (!call.over) $("recorded").hidden = !call.recorded;
    await show(call);
    if (!call.over) say(within(options));
  } catch (error) {
    if (call && call.over) return; // `ended` has said why
    if (call) call.end("left");
    say(explain(error), true);
  } finally {
    state.busy = false;
  }
}

const within = (options) => (options.echo ? "Connected: speak, and you hear yourself." : `In room “${options.room}”.`);

function trouble(error) {
  state.failing = false; // what is said now stays until the call goes on
  say(`${explain(error)} Calling again …`, true);
}

/** The call goes on over another connection, whose sound is another stream. */
function renewed() {
  const { call } = state;
  $("speaker").srcObject = call.remote;
  if (state.views.length) {
    state.views[1].stop();
    state.views[1] = new View(state.context, call.remote, $("spectrum-out"), $("level-out"));
  }
  say(`${within(call.options)} The connection was lost for a moment.`);
}

async function show(call) {
  warnOfSilence(call.microphone);
  $("speaker").srcObject = call.remote;
  state.context = new AudioContext();
  await state.context.resume();
  if (call.over) return;
  state.views = [
    new View(state.context, call.microphone, $("spectrum-in"), $("level-in")),
    new View(state.context, call.remote, $("spectrum-out"), $("level-out")),
  ];
  entered(true);
  await look(call);
  watch(call);
}

function warnOfSilence(microphone) {
  const [track] = microphone.getAudioTracks();
  track.onended = () => say("The microphone has gone: nobody hears you. Choose another one.", true);
}

function entered(yes) {
  $("call").hidden = $("leave").hidden = !yes;
  $("join").hidden = $("own").hidden = yes;
  for (const id of ["name", "room", "codec", "token", "headphones"]) $(id).parentElement.hidden = yes;
}

function ended(reason) {
  state.views.forEach((view) => view.stop());
  if (state.context) state.context.close();
  Object.assign(state, { call: null, context: null, views: [], failing: false });
  $("speaker").srcObject = null;
  $("speakers").replaceChildren();
  $("recorded").hidden = true;
  entered(false);
  say(reason === "left" ? "Left." : `The call has ended: ${reason}.`, reason !== "left");
}

/** Look again and again, never twice at a time: a slow bridge is not asked more often than it answers. */
async function watch(call) {
  while (!call.over) {
    await new Promise((done) => setTimeout(done, POLL_MS));
    if (!call.over && !call.renewing) await look(call);
  }
}

async function look(call) {
  try {
    const [{ calls, mine, cutoff_max_hz }, figures] = await Promise.all([call.look(), call.measure()]);
    if (call.over || call.renewing) return;
    if (state.failing) say(state.said);
    state.failing = false;
    $("recorded").hidden = !call.recorded;
    showFigures(figures, mine);
    showSpeakers(call, calls, cutoff_max_hz);
  } catch (error) {
    if (call.over || call.renewing) return;
    state.failing = true;
    say(explain(error), true);
  }
}

function showFigures(figures, mine) {
  const speaker = (mine && mine.speaker) || {};
  const rows = {
    "round trip": ms(figures.trip),
    "bridge waits": ms(speaker.delay_ms),
    "playback waits": ms(figures.buffer),
    "jitter in / out": `${ms(speaker.jitter_ms)} / ${ms(figures.jitter)}`,
    "lost in / out": `${speaker.lost ?? "–"} / ${figures.loss === undefined ? "–" : `${figures.loss.toFixed(1)} %`}`,
    "underruns in / out": `${speaker.underruns ?? "–"} / ${figures.concealed ?? "–"}`,
  };
  $("figures").replaceChildren(
    ...Object.entries(rows).map(([name, value]) => {
      const row = document.createElement("div");
      row.append(element("dt", name), element("dd", value));
      return row;
    }),
  );
}

const ms = (value) => (value === undefined ? "–" : `${value.toFixed(0)} ms`);

function element(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

/** One row a speaker, kept while it stays, so that a button does not vanish under a finger. */
function showSpeakers(call, calls, most_hz) {
  const list = $("speakers");
  const speaking = calls.filter((one) => one.speaker);
  for (const row of [...list.children]) if (!speaking.some((one) => one.id === row.dataset.call)) row.remove();
  for (const one of speaking) {
    const row = [...list.children].find((known) => known.dataset.call === one.id) || list.appendChild(makeRow(call, one));
    const { speaker } = one;
    row.querySelector("meter").value = speaker.level_out_db;
    showChoice(row.querySelector("button"), speaker.bypass, call.plain.has(one.id));
    row.querySelector("small").textContent =
      `${band(speaker, most_hz)} · ${speaker.codec}, ${speaker.rate_hz / 1000} kHz · waits ${ms(speaker.delay_ms)} · jitter ${ms(speaker.jitter_ms)} · ` +
      `lost ${speaker.lost} · late ${speaker.late} · underruns ${speaker.underruns}`;
  }
}

/** How much of a voice was received, and whether something is added to it. */
function band({ cutoff_hz, bypass }, most_hz) {
  if (!cutoff_hz) return "nothing heard yet";
  const received = `received up to ${(cutoff_hz / 1000).toFixed(1)} kHz`;
  if (cutoff_hz > most_hz) return `${received}: wide already`;
  return bypass ? received : `${received}, enhanced above`;
}

function showChoice(button, forAll, plain) {
  button.disabled = forAll;
  button.setAttribute("aria-pressed", String(!forAll && !plain));
  button.textContent = forAll ? "plain for all" : plain ? "plain" : "enhanced";
}

function makeRow(call, one) {
  const row = document.createElement("li");
  row.dataset.call = one.id;
  const own = one.id === call.id ? " (you)" : "";
  const meter = Object.assign(document.createElement("meter"), { min: -60, max: 0, value: -60 });
  meter.setAttribute("aria-label", `Level of ${one.name || "this speaker"}`);
  const button = element("button", "enhanced");
  button.type = "button";
  button.title = "enhanced or plain, in your ears alone";
  button.hidden = !call.hears(one);
  button.addEventListener("click", async () => {
    const chosen = call.choose(one.id, !call.plain.has(one.id));
    showChoice(button, false, call.plain.has(one.id));
    await chosen.catch((error) => call.over || say(explain(error), true));
    await look(call);
  });
  row.append(element("strong", (one.name || one.kind) + own), meter, button, document.createElement("small"));
  return row;
}

$("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  join();
});
$("leave").addEventListener("click", () => state.call && state.call.end("left"));
$("own").addEventListener("click", (event) => {
  const narrow = Number(event.target.dataset.narrow);
  if (narrow) join({ echo: true, narrow_hz: narrow, codec: "" });
});
$("microphone").addEventListener("change", async () => {
  const { call } = state;
  if (!call) return;
  try {
    await call.replace(await navigator.mediaDevices.getUserMedia(constraints()));
    if (call.over) return;
    warnOfSilence(call.microphone);
    say(within(call.options));
    state.views[0].stop();
    state.views[0] = new View(state.context, call.microphone, $("spectrum-in"), $("level-in"));
  } catch (error) {
    if (!call.over) say(explain(error), true);
  }
});
addEventListener("pagehide", () => state.call && state.call.end("left"));
if (navigator.mediaDevices) listMicrophones().catch((error) => say(explain(error), true));
