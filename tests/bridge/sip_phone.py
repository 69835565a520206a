"""A telephone that sends what it is told to over UDP, and an agent of SIP on a bench."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rtsr.bridge.calls import Calls
from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.media import MediaThread
from rtsr.bridge.rtp_legs import RtpLegs
from rtsr.bridge.sip.agent import SipAgent
from rtsr.bridge.sip.message import Request, Response, parse
from rtsr.bridge.sip.settings import SipSettings

SDP = "v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
TURN_S = 0.02
KEPT = ("via", "from", "call-id", "cseq", "record-route")


class Phone(asyncio.DatagramProtocol):
    """A telephone that sends what it is told to."""

    opened: ClassVar[list[Phone]] = []  # of this test

    def __init__(self, port: int) -> None:
        self.opened.append(self)
        self.port, self.came, self.number, self.remote = port, list[Request | Response](), 0, ""
        self.route = list[str]()  # of the requests of its call

    async def open(self) -> Phone:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=("127.0.0.1", self.port))
        self.own = self.transport.get_extra_info("sockname")[1]
        return self

    def datagram_received(self, data: bytes, place: object) -> None:
        self.came.append(parse(data))
        assert self.came[-1] is not None, data

    def message(
        self, method: str, body: str = "", more: str = "", number: int | None = None, branch: str = ""
    ) -> bytes:
        self.number += number is None
        number = number or self.number
        lines = [
            f"{method} sip:desk@127.0.0.1:{self.port} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.own};branch=z9hG4bK{branch or method + str(number)}",
            "From: <sip:a@127.0.0.1>;tag=a",
            f"To: <sip:desk@127.0.0.1>{self.remote}",
            *(f"Route: {value}" for value in self.route),
            f"Call-ID: call-{self.own}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:a@127.0.0.1:{self.own}>",
            *(["Content-Type: application/sdp"] if body else []),
            *([more] if more else []),
        ]
        return ("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]) + body).encode()

    def send(self, *given: object, **more: object) -> bytes:
        data = self.message(*given, **more)
        self.transport.sendto(data)
        return data

    async def wait(self, what: int | str, limit_s: float = 3.0) -> Request | Response:
        """Return the first message of a status or method that came, and forget it."""
        async with asyncio.timeout(limit_s):
            while True:
                for one in self.came:
                    if what == (one.status if isinstance(one, Response) else one.method):
                        self.came.remove(one)
                        return one
                await asyncio.sleep(TURN_S)

    async def call(self, more: str = "", body: str = SDP) -> Response:
        """Be answered, and acknowledge that."""
        self.send("INVITE", body, more)
        answer = await self.wait(200)
        self.enter(answer)
        self.send("ACK", number=answer.sequence[0])
        return answer

    def enter(self, answer: Response) -> None:
        """Go on within the dialog that an answer begins."""
        self.remote, self.route = f";tag={answer.recipient.tag}", answer.all("record-route")[::-1]

    def answer(self, request: Request, status: int, body: str = "") -> None:
        """Answer a request, its Record-Route kept."""
        kept = [f"{name}: {value}" for name, value in request.headers if name in KEPT]
        tag = "" if request.recipient.tag else f";tag=p{self.own}"
        lines = [
            f"SIP/2.0 {status} So",
            *kept,
            f"To: {request.get('to')}{tag}",
            f"Contact: <sip:b@127.0.0.1:{self.own}>",
        ]
        lines += ["Content-Type: application/sdp"] if body else []
        data = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]) + body
        self.transport.sendto(data.encode())


class Bench:
    """An agent, and what must be left of it at the end: nothing."""

    def __init__(self, null, **settings: object) -> None:
        self.media = MediaThread(null, 4, lambda packets: None)
        bridge = BridgeSettings()
        self.calls = Calls(self.media, bridge, 4)
        legs = RtpLegs(bridge, self.calls)
        self.agent = SipAgent(SipSettings(**{"listen": "127.0.0.1:0", **settings}), bridge, self.calls, legs)
        self.legs, self.line = legs, self.agent.line

    @property
    def port(self) -> int:
        return self.line.paths.place[1]

    async def settled(self, limit_s: float = 3.0) -> None:
        """Wait until no call is left."""
        async with asyncio.timeout(limit_s):
            while self.line.by_dialog or self.calls.by_id or self.legs._open:
                await asyncio.sleep(TURN_S)
