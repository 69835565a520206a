// One call through the bridge: an offer out, an answer in, sound both ways.

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export class Call {
  /** options: {room, token, name, codec, narrow_hz, echo}; `ended` is called once, with a reason. */
  constructor(microphone, options, ended) {
    this.microphone = microphone;
    this.options = options;
    this.ended = ended;
    this.place = null;
    this.plain = new Set(); // calls that are heard without their generated band here
    this.choices = 0; // an answer to an older request than the last says nothing of `plain`
    this.remote = new MediaStream();
    this.peer = new RTCPeerConnection({ iceServers: [] });
    this.peer.ontrack = (event) => this.remote.addTrack(event.track);
    this.peer.onconnectionstatechange = () => {
      if (["failed", "closed"].includes(this.peer.connectionState)) this.end("the connection was lost");
    };
  }

  async start() {
    const [track] = this.microphone.getAudioTracks();
    const transceiver = this.peer.addTransceiver(track, { direction: "sendrecv", streams: [this.microphone] });
    this.prefer(transceiver);
    await this.peer.setLocalDescription();
    await this.gathered();
    const { room, name, narrow_hz, echo } = this.options;
    const body = { type: "offer", sdp: this.peer.localDescription.sdp, name, echo };
    if (narrow_hz) body.narrow_hz = narrow_hz;
    const reply = await this.ask("POST", `/rooms/${room}/offer`, body);
    this.place = reply.headers.get("Location");
    const answer = await reply.json();
    this.id = answer.call;
    await this.peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  }

  prefer(transceiver) {
    if (!this.options.codec) return;
    const known = RTCRtpReceiver.getCapabilities("audio").codecs;
    const wanted = (codec) => codec.mimeType.toLowerCase() === `audio/${this.options.codec}`;
    transceiver.setCodecPreferences([...known.filter(wanted), ...known.filter((codec) => !wanted(codec))]);
  }

  /** Wait for candidates, but not for long: those of this machine come at once. */
  gathered() {
    if (this.peer.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((resolve) => {
      setTimeout(resolve, 1000);
      this.peer.onicegatheringstatechange = () => {
        if (this.peer.iceGatheringState === "complete") resolve();
      };
    });
  }

  async ask(method, path, body) {
    const headers = {};
    if (this.options.token) headers.Authorization = `Bearer ${this.options.token}`;
    if (body) headers["Content-Type"] = "application/json";
    const request = { method, headers, body: body && JSON.stringify(body), keepalive: method === "DELETE" };
    const reply = await fetch(path, request).catch(() => {
      throw new Refused(0, "The bridge does not answer.");
    });
    if (!reply.ok) {
      const answer = await reply.json().catch(() => ({}));
      throw new Refused(reply.status, answer.error || reply.statusText);
    }
    return reply;
  }

  /** Who is in the room, as the bridge reports; ends the call where the bridge knows nothing of it any more. */
  async look() {
    const { choices } = this;
    const { calls } = await (await this.ask("GET", `/rooms/${this.options.room}`)).json();
    const mine = calls.find((one) => one.id === this.id);
    if (!mine) this.end("the bridge has ended it");
    else if (choices === this.choices) this.plain = new Set(mine.plain);
    return { calls, mine };
  }

  /** Whether what a call of the room says is heard here: oneself alone, or all others who do not try their own voice. */
  hears(one) {
    return one.id === this.id ? one.echo : !one.echo && !this.options.echo;
  }

  /** Hear a speaker without its generated band, or with it; nobody else hears a difference. */
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
    await this.peer.getSenders()[0].replaceTrack(track);
    this.microphone.getTracks().forEach((old) => old.stop());
    this.microphone = microphone;
  }

  /** What the browser itself measures, in milliseconds and percent. */
  async measure() {
    const figures = {};
    (await this.peer.getStats()).forEach((report) => {
      if (report.type === "inbound-rtp" && report.kind === "audio") {
        const all = report.packetsReceived + report.packetsLost;
        figures.loss = all ? (100 * report.packetsLost) / all : 0;
        figures.jitter = 1000 * report.jitter;
        figures.buffer = (1000 * report.jitterBufferDelay) / (report.jitterBufferEmittedCount || 1);
        figures.concealed = report.concealmentEvents || 0;
      } else if (report.type === "candidate-pair" && report.nominated) {
        figures.trip = 1000 * (report.currentRoundTripTime || 0);
      }
    });
    return figures;
  }

  get over() {
    return !this.ended;
  }

  end(reason) {
    if (this.over) return;
    const onEnd = this.ended;
    this.ended = null;
    if (this.place && reason === "left") this.ask("DELETE", this.place).catch(() => {});
    this.peer.close();
    this.microphone.getTracks().forEach((track) => track.stop());
    onEnd(reason);
  }
}
