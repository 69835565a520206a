"""Routes of SIP through the gateway, and what is put into a request and taken out of its answer."""

from __future__ import annotations

from rtsr.bridge.sip.message import parse
from rtsr.fleet.sip_routes import WORKER, Routes, Way, passed_on, returned

KEY = b"key"


def test_routes_say_what_was_written_and_no_others_are_read():
    routes, way = Routes(KEY), Way(WORKER, "abc-0", "tls", "2001:db8::7", 5061)
    uri = routes.uri(way, ("2001:db8::1", 5061), "tls")
    assert uri.endswith("@[2001:db8::1]:5061;transport=tls;lr")
    assert routes.read(f"<{uri}>") == way
    for other in (uri.replace(uri[8:12], "AAAA"), "sip:desk@192.0.2.1", "sip:@", "<>", "sip:AA@192.0.2.1", "tel:5"):
        assert routes.read(other) is None, other
    assert Routes(b"another").read(uri) is None


def test_what_is_passed_on_comes_back_without_a_trace():
    vias = "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa, SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKb"
    text = (
        f"INVITE sip:7@192.0.2.1 SIP/2.0\r\nVia: {vias}\r\nMax-Forwards: 3\r\nRoute: <sip:192.0.2.1;lr>\r\n"
        "From: <sip:a@x>;tag=1\r\nTo: <sip:7@x>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.9>\r\n\r\n"
    )
    request = parse(text.encode())
    routes, record = ["<sip:192.0.2.3;lr>"], ["sip:r@192.0.2.1;lr"]
    onward = parse(passed_on(request, ("192.0.2.1", 5060), "udp", routes, record).write())
    assert onward.all("via")[1:] == request.all("via")
    assert (onward.get("max-forwards"), onward.all("route")) == ("2", ["<sip:192.0.2.3;lr>"])
    assert onward.all("record-route") == ["<sip:r@192.0.2.1;lr>"]
    back = onward.write().replace(b"INVITE sip:7@192.0.2.1 SIP/2.0", b"SIP/2.0 200 OK")
    assert returned(parse(back)).all("via") == request.all("via")
    folded = back.replace(b", SIP/2.0/UDP 192.0.2.8", b"\r\nVia: SIP/2.0/UDP 192.0.2.8")
    assert returned(parse(folded)).all("via") == request.all("via")
