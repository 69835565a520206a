"""WHIP and WHEP in GStreamer: publishes a 440 Hz tone, or records what it hears as 48 kHz mono s16.

`python3 gst_session.py whip|whep URL TOKEN SECONDS FILE`, run by the system's Python, which has GStreamer's bindings.
"""

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

CAPS = "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000"
TONE = f"audiotestsrc is-live=true freq=440 volume=0.3 ! audioconvert ! opusenc ! rtpopuspay pt=111 ! {CAPS} ! queue"
RECORD = "rtpopusdepay ! opusdec ! audioconvert ! audio/x-raw,format=S16LE,channels=1 ! filesink async=false location="


class Session:
    """Asks for a session when its ICE candidates are gathered, and ends it when the time is over."""

    def __init__(self, kind: str, url: str, token: str, path: str) -> None:
        self.url, self.token, self.path, self.place = url, token, path, ""
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline.new(None)
        self.peer = Gst.ElementFactory.make("webrtcbin")
        self.pipeline.add(self.peer)
        if kind == "whip":
            source = Gst.parse_bin_from_description(TONE, True)
            self.pipeline.add(source)
            source.link(self.peer)
            self.peer.emit("get-transceiver", 0).set_property("direction", self.direction("SENDONLY"))
        else:
            self.peer.emit("add-transceiver", self.direction("RECVONLY"), Gst.Caps.from_string(CAPS))
        self.peer.connect("pad-added", self.play)
        self.peer.connect("notify::ice-gathering-state", self.gathered)
        self.peer.connect("on-negotiation-needed", self.negotiate)

    @staticmethod
    def direction(name: str):
        return getattr(GstWebRTC.WebRTCRTPTransceiverDirection, name)

    def start(self) -> None:
        self.pipeline.set_state(Gst.State.PLAYING)

    def negotiate(self, peer) -> None:
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered, None))

    def offered(self, promise, _) -> None:
        reply = promise.get_reply()  # owns the offer: it must not go before
        self.peer.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def gathered(self, peer, _) -> None:
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.ask)

    def ask(self) -> None:
        offer = self.peer.get_property("local-description").sdp.as_text()
        with urllib.request.urlopen(self.request(self.url, "POST", offer.encode()), timeout=5) as reply:
            self.place, text = reply.headers["Location"], reply.read().decode()
        _, message = GstSdp.SDPMessage.new_from_text(text)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.peer.emit("set-remote-description", answer, Gst.Promise.new())

    def request(self, url: str, method: str, body: bytes | None = None) -> urllib.request.Request:
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {self.token}"}
        return urllib.request.Request(url, body, headers, method=method)

    def play(self, _, pad) -> None:
        if pad.direction == Gst.PadDirection.SRC:
            sink = Gst.parse_bin_from_description(RECORD + self.path, True)
            self.pipeline.add(sink)
            sink.sync_state_with_parent()
            pad.link(sink.get_static_pad("sink"))

    def end(self) -> None:
        place = "/".join(self.url.split("/")[:3]) + self.place
        try:
            print("ended:", urllib.request.urlopen(self.request(place, "DELETE"), timeout=5).status, flush=True)
        finally:
            self.loop.quit()


Gst.init(None)
session = Session(*sys.argv[1:4], sys.argv[5])
session.start()
GLib.timeout_add(round(1000 * float(sys.argv[4])), session.end)
session.loop.run()
session.pipeline.set_state(Gst.State.NULL)
