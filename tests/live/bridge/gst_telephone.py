"""A telephone in GStreamer: speaks a recording by PCMU, presses keys, records what it hears, exchanges RTCP.

`python3 gst_telephone.py PORT RECORDING KEYS SECONDS FILE`, run by the system's Python, which has GStreamer's
bindings. FILE gets what was heard as mu-law. The last line of stdout is JSON: keys heard, and what RTCP said.
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gio, GLib, Gst  # noqa: E402

SPEAK = """
rtpbin name=bin
filesrc location={recording} ! wavparse ! audioconvert ! audioresample ! audio/x-raw,rate=8000,channels=1
  ! mulawenc ! rtppcmupay max-ptime=20000000 min-ptime=20000000 ! identity sync=true ! mux.
rtpdtmfsrc name=keys pt=101 packet-redundancy=2 ! mux.
rtpdtmfmux name=mux ! bin.send_rtp_sink_0
bin.send_rtp_src_0 ! udpsink name=rtp_out host=127.0.0.1 port={port} sync=false async=false close-socket=false
bin.send_rtcp_src_0 ! udpsink name=rtcp_out host=127.0.0.1 port={next} sync=false async=false close-socket=false
udpsrc name=rtp_in close-socket=false ! bin.recv_rtp_sink_0
udpsrc name=rtcp_in close-socket=false ! bin.recv_rtcp_sink_0
"""
AUDIO = "application/x-rtp,media=audio,clock-rate=8000,encoding-name=PCMU,payload=0"
EVENTS = "application/x-rtp,media=audio,clock-rate=8000,encoding-name=TELEPHONE-EVENT,payload=101"


def two_sockets() -> list[Gio.Socket]:
    """Sockets of two ports in a row on this machine."""
    for port in range(20_000, 30_000, 2):
        sockets = []
        try:
            for one in (port, port + 1):
                sockets.append(Gio.Socket.new(Gio.SocketFamily.IPV4, Gio.SocketType.DATAGRAM, Gio.SocketProtocol.UDP))
                sockets[-1].bind(Gio.InetSocketAddress.new_from_string("127.0.0.1", one), False)
        except GLib.Error:
            continue
        return sockets
    raise SystemExit("no port is free")


class Telephone:
    """One call."""

    def __init__(self, port: str, recording: str, keys: str, seconds: str, path: str) -> None:
        self.path, self.keys, self.heard_keys = path, list(keys), []
        self.loop = GLib.MainLoop()
        text = SPEAK.format(port=port, next=int(port) + 1, recording=recording)
        self.pipeline = Gst.parse_launch(" ".join(text.split("\n")))
        for name, socket in zip(("rtp", "rtcp"), two_sockets(), strict=True):
            for way in ("in", "out"):
                self.pipeline.get_by_name(f"{name}_{way}").set_property("socket", socket)
        self.pipeline.get_by_name("rtp_in").set_property("caps", Gst.Caps.from_string(AUDIO))
        self.bin = self.pipeline.get_by_name("bin")
        self.bin.connect("request-pt-map", lambda _, session, kind: Gst.Caps.from_string(EVENTS if kind else AUDIO))
        self.bin.connect("pad-added", self.hear)
        self.session = self.bin.emit("get-internal-session", 0)
        self.session.set_property("rtcp-min-interval", 500 * Gst.MSECOND)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::element", self.note_key)
        bus.connect("message::error", lambda _, message: self.fail(message))
        GLib.timeout_add(1_500, self.press)
        GLib.timeout_add(round(1000 * float(seconds)), self.end)

    def fail(self, message) -> None:
        print("error:", message.parse_error(), flush=True)
        self.loop.quit()

    def hear(self, _, pad) -> None:
        if not pad.get_name().startswith("recv_rtp_src"):
            return
        kind = int(pad.get_name().split("_")[-1])
        text = (
            "rtpdtmfdepay ! fakesink async=false"
            if kind
            else f"rtppcmudepay ! filesink async=false location={self.path}"
        )
        sink = Gst.parse_bin_from_description(text, True)
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    def note_key(self, _, message) -> None:
        found = message.get_structure()
        if found and found.get_name() == "dtmf-event":
            self.heard_keys.append(found.get_int("number")[1])

    def press(self) -> bool:
        if not self.keys:
            return False
        self.event(int(self.keys.pop(0)), start=True)
        GLib.timeout_add(150, lambda: self.event(0, start=False))
        GLib.timeout_add(600, self.press)
        return False

    def event(self, number: int, *, start: bool) -> bool:
        found = Gst.Structure.new_empty("dtmf-event")
        found.set_value("type", 1)
        found.set_value("number", number)
        found.set_value("volume", 10)
        found.set_value("start", start)
        pad = self.pipeline.get_by_name("keys").get_static_pad("src")
        pad.send_event(Gst.Event.new_custom(Gst.EventType.CUSTOM_UPSTREAM, found))
        return False

    def end(self) -> bool:
        try:
            stats = self.session.get_property("stats")  # owns the sources
            sources = stats.get_value("source-stats")
            reported = [one for one in sources if one.get_value("have-rb")]  # on us, by the bridge
            trips = [1000 * one.get_value("rb-round-trip") / 65_536 for one in reported]
            lost = [one.get_value("rb-packetslost") for one in reported]
            print(json.dumps({"keys": self.heard_keys, "round_trips_ms": trips, "lost": lost}), flush=True)
        finally:
            self.loop.quit()
        return False


Gst.init(None)
telephone = Telephone(*sys.argv[1:])
telephone.pipeline.set_state(Gst.State.PLAYING)
telephone.loop.run()
telephone.pipeline.set_state(Gst.State.NULL)
