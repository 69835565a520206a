// One peer connection to the bridge: an offer out, an answer in. A lost one is not repaired; its call makes another.

const GATHER_MS = 1000;
const FLOWS_MS = 200; // between two packets, at most

export class Connection {
  /** servers: as RTCConfiguration has them; `lost` is called where the connection ends by itself. */
  constructor(servers, lost) {
    this.peer = new RTCPeerConnection({ iceServers: servers });
    this.remote = new MediaStream();
    this.peer.ontrack = (event) => this.remote.addTrack(event.track);
    this.connected = new Promise((resolve, reject) => {
      this.peer.onconnectionstatechange = () => {
        const { connectionState: state } = this.peer;
        if (state === "connected") resolve();
        if (!["failed", "closed"].includes(state)) return;
        reject(new Error("This network lets no call through to the bridge."));
        lost(this);
      };
    });
    this.connected.catch(() => {}); // `accept` handles it
    this.received = 0;
    this.received_ms = performance.now();
  }

  /** An offer with the candidates of this machine. */
  async offer(microphone, codec) {
    const [track] = microphone.getAudioTracks();
    const transceiver = this.peer.addTransceiver(track, { direction: "sendrecv", streams: [microphone] });
    if (codec) {
      const known = RTCRtpReceiver.getCapabilities("audio").codecs;
      const wanted = (one) => one.mimeType.toLowerCase() === `audio/${codec}`;
      transceiver.setCodecPreferences([...known.filter(wanted), ...known.filter((one) => !wanted(one))]);
    }
    await this.peer.setLocalDescription();
    await this.gathered();
    return this.peer.localDescription.sdp;
  }

  /** Wait for candidates, but not for long: those of this machine come at once, those of servers soon. */
  gathered() {
    if (this.peer.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((resolve) => {
      setTimeout(resolve, GATHER_MS);
      this.peer.onicegatheringstatechange = () => {
        if (this.peer.iceGatheringState === "complete") resolve();
      };
    });
  }

  /** Take the answer, and wait until sound may pass. */
  async accept(sdp, limit_ms) {
    await this.peer.setRemoteDescription({ type: "answer", sdp });
    const late = new Promise((_, reject) => {
      setTimeout(() => reject(new Error("This network lets no call through to the bridge.")), limit_ms);
    });
    await Promise.race([this.connected, late]);
    this.received_ms = performance.now();
  }

  /** For how long nothing has come: the bridge sends at all times, silence too. */
  async silent_ms() {
    let received = 0;
    (await this.peer.getStats()).forEach((report) => {
      if (report.type === "inbound-rtp") received = report.packetsReceived;
    });
    if (received !== this.received) this.received_ms = performance.now();
    this.received = received;
    return performance.now() - this.received_ms;
  }

  /** Whether it was lost but for a moment. */
  async flows() {
    return this.peer.connectionState === "connected" && (await this.silent_ms()) < FLOWS_MS;
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

  close() {
    this.peer.onconnectionstatechange = null;
    this.peer.close();
  }
}
