// One call through the bridge. It outlives its connection: where that is lost, the call goes on over another one, in the
// same room and under the same name, as long as nobody hangs up.

import { Connection } from "./connection.js";

const WATCH_MS = 250;
const SILENT_MS = 800; // without a packet, and the bridge is called again
const AGAIN_MS = 400; // between two tries
const PROBE_MS = 800; // that the bridge has to answer the first request of a try: a connection from before is dead then
const ANSWER_MS = 5000;
const LEAVE_MS = 1000; // to learn that a user leaves, before the connection is closed
const CONNECT_MS = 8000; // until sound may pass, the first time
const RENEW_MS = 3000; // likewise, where a network that has changed may change again
const GIVE_UP_MS = 120000;
const MAY_PASS = [0, 502, 503, 504]; // no answer, a proxy without its bridge, a bridge that is full or ends

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

const CLIENT = crypto.randomUUID?.() ?? ""; // where an answer is lost, the bridge knows by it whose call it was
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Call {
  /**
   * options: {room, token, name, codec, narrow_hz, echo}. `on.ended` is called once, with a reason; `on.trouble` with an
   * error where the connection was lost and a try to call again failed; `on.renewed` once sound passes again.
   */
  constructor(microphone, options, on) {
    this.microphone = microphone;
    this.options = options;
    this.on = on;
    this.place = null;
    this.plain = new Set(); // calls that are heard without their generated band here
    this.choices = 0; // an answer to an older request than the last says nothing of `plain`
    this.recorded = false;
    this.connection = null;
    this.renewing = false;
  }

  async start() {
    await this.connect();
    this.watch();
  }

  /** Make a connection, and the call that it is for; it takes the place of the one before. */
  async connect() {
    const { iceServers } = await (await this.ask("GET", "/ice", undefined, PROBE_MS)).json();
    if (this.connection && (await this.connection.flows())) return; // it was the bridge that paused
    const connection = new Connection(iceServers, (lost) => lost === this.connection && this.renew());
    try {
      const { room, name, narrow_hz, echo, codec } = this.options;
      const body = { type: "offer", sdp: await connection.offer(this.microphone, codec), name, echo, client: CLIENT };
      if (narrow_hz) body.narrow_hz = narrow_hz;
      if (this.id) body.replaces = this.id;
      const reply = await this.ask("POST", `/rooms/${room}/offer`, body);
      const answer = await reply.json();
      this.place = reply.headers.get("Location");
      this.id = answer.call;
      this.recorded = answer.recorded;
      if (this.over) return this.hangUp(connection);
      await connection.accept(answer.sdp, this.connection ? RENEW_MS : CONNECT_MS);
      if (this.over) return this.hangUp(connection);
    } catch (error) {
      connection.close();
      throw error;
    }
    if (this.connection) this.connection.close();
    this.connection = connection;
  }

  hangUp(connection) {
    connection.close();
    this.ask("DELETE", this.place).catch(() => {});
  }

  /** Call again once nothing comes any more; where the network has changed, that is much sooner than ICE says so. */
  async watch() {
    while (!this.over) {
      await pause(WATCH_MS);
      if (!this.over && !this.renewing && (await this.connection.silent_ms()) > SILENT_MS) await this.renew();
    }
  }

  /** Call again and again, until the bridge answers or says that it is of no use. */
  async renew() {
    if (this.renewing || this.over) return;
    this.renewing = true;
    const began_ms = performance.now();
    this.on.trouble(new Refused(0, "The connection was lost."));
    while (!this.over) {
      try {
        await this.connect();
        if (!this.over) this.on.renewed();
        break;
      } catch (error) {
        if (this.over) break;
        if (error.status === 410) this.end(error.message);
        else if (error instanceof Refused && !MAY_PASS.includes(error.status)) this.end(error.message);
        else if (performance.now() - began_ms > GIVE_UP_MS) this.end("the connection was lost");
        else this.on.trouble(error);
        await pause(AGAIN_MS);
      }
    }
    this.renewing = false;
  }

  async ask(method, path, body, limit_ms = ANSWER_MS) {
    const headers = {};
    if (this.options.token) headers.Authorization = `Bearer ${this.options.token}`;
    if (body) headers["Content-Type"] = "application/json";
    const signal = AbortSignal.timeout(limit_ms);
    const request = { method, headers, body: body && JSON.stringify(body), keepalive: method === "DELETE", signal };
    const reply = await fetch(path, request).catch(() => {
      throw new Refused(0, "The bridge does not answer.");
    });
    if (!reply.ok) {
      const answer = await reply.json().catch(() => ({}));
      throw new Refused(reply.status, answer.error || reply.statusText);
    }
    return reply;
  }

  /** Who is in the room, as the bridge reports; calls again where the bridge knows nothing of this call any more. */
  async look() {
    const { choices, id } = this;
    const { calls, cutoff_max_hz, recorded } = await (await this.ask("GET", `/rooms/${this.options.room}`)).json();
    const mine = calls.find((one) => one.id === id);
    this.recorded = recorded;
    if (!mine && id === this.id) this.renew();
    else if (mine && choices === this.choices) this.plain = new Set(mine.plain);
    return { calls, mine, cutoff_max_hz };
  }

  /** Whether what a call of the room says is heard here: oneself alone, or all others who do not try their own voice. */
  hears(one) {
    return one.id === this.id ? one.echo : !one.echo && !this.options.echo;
  }

  /** Hear a speaker without its generated band, or with it; the other listeners' mixes do not change. */
  async choose(id, plain) {
    this.plain[plain ? "add" : "delete"](id);
    this.choices++;
    try {
      await this.ask("PATCH", this.place, { plain: [...this.plain] });
    } finally {
      this.choices++;
    }
  }

  async replace(microphone) {
    const [track] = microphone.getAudioTracks();
    if (this.over) return track.stop();
    await this.connection.peer.getSenders()[0].replaceTrack(track);
    this.microphone.getTracks().forEach((old) => old.stop());
    this.microphone = microphone;
  }

  /** Close the connection, after the bridge knows that its user left: else it reports a connection that was closed. */
  async disconnect(left) {
    if (left && this.place) await this.ask("DELETE", this.place, undefined, LEAVE_MS).catch(() => {});
    if (this.connection) this.connection.close();
  }

  measure() {
    return this.connection.measure();
  }

  get remote() {
    return this.connection.remote;
  }

  get over() {
    return !this.on;
  }

  end(reason) {
    if (this.over) return;
    const { ended } = this.on;
    this.on = null;
    this.microphone.getTracks().forEach((track) => track.stop());
    this.disconnect(reason === "left");
    ended(reason);
  }
}
