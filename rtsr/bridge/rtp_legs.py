"""RTP legs that are opened by request, for Asterisk's externalMedia, rtpengine and other media proxies.

`POST /rooms/ROOM/rtp` opens two ports and answers with them. The peer sends first: two packets in sequence tell where
the room's audio goes to (symmetric RTP, RFC 4961). Everything is the event loop's.
"""

from __future__ import annotations

import ipaddress
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import InvalidSetting, PoolFull
from .call import Call, CallOptions
from .calls import Calls
from .codec import PCMU
from .config import BridgeSettings, Network, contains, is_loopback, networks, port_range
from .latch import Latch
from .log import log_event
from .rtp import PayloadTypes
from .rtp_endpoint import TRIES, RtpEndpoint
from .rtp_session import RtpSession
from .srtp import Crypto, Srtp

LONGEST_NAME = 64
KEYS = ("codec", "payload_type", "event_type", "remote", "crypto", "name")


@dataclass(frozen=True, slots=True)
class RtpOptions:
    """What a request for a leg asks for."""

    types: PayloadTypes
    remote: str | None = None  # the only address that may send to it
    crypto: Crypto | None = None  # of the peer's packets
    name: str = "telephone"

    @classmethod
    def read(cls, body: dict[str, Any]) -> RtpOptions:
        """Read a request's body; raises `InvalidSetting` and `UnknownName`."""
        for key in body:
            if key not in KEYS:
                raise InvalidSetting(f"expected {', '.join(KEYS)}, got {key[:40]!r}")
        codec, name, remote = body.get("codec", PCMU), body.get("name", "telephone"), body.get("remote")
        numbers = {key: body[key] for key in ("payload_type", "event_type") if key in body}
        if not isinstance(codec, str) or not all(type(number) is int for number in numbers.values()):
            raise InvalidSetting("expected codec to be a name, and payload_type and event_type to be numbers")
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise InvalidSetting(f"name: expected a text of at most {LONGEST_NAME} characters")
        events = {"events": numbers["event_type"]} if "event_type" in numbers else {}
        types = PayloadTypes.of(codec, numbers.get("payload_type"), **events)
        crypto = Crypto.parse(body["crypto"]) if "crypto" in body else None
        return cls(types, None if remote is None else _address(remote), crypto, name)


def _address(text: object) -> str:
    """Return a numeric address, without a port if it has one; raises `InvalidSetting`."""
    if isinstance(text, str) and len(text) <= 64:
        host, _, port = text.rpartition(":")
        for candidate in (text, host if port.isdecimal() else "", text.strip("[]"), host.strip("[]")):
            try:
                return str(ipaddress.ip_address(candidate))
            except ValueError:
                continue
    raise InvalidSetting("remote: expected a numeric ADDRESS or ADDRESS:PORT")


@dataclass(eq=False)
class RtpLeg:
    """Two ports, and once it has joined a room, a call."""

    call_id: str
    room: str
    endpoint: RtpEndpoint
    opened_s: float
    session: RtpSession | None = None
    may_be_silent: bool = False  # its peer said that it sends nothing, as on hold: that does not end the call
    on_close: Callable[[], None] = lambda: None  # when the call has ended, whoever ended it


class RtpLegs:
    """Opens legs, and ends those whose peer is silent."""

    def __init__(self, settings: BridgeSettings, calls: Calls, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._calls, self._clock = settings, calls, clock
        self._allowed = networks(settings.rtp_sources, "rtp_sources")
        self._open: dict[str, RtpLeg] = {}  # by call

    async def open(self, room: str, options: RtpOptions) -> tuple[Call, dict[str, Any]]:
        """Open a leg and let it into a room; returns its call and the answer.

        Raises `PoolFull` where there is no room for one more, or no port, and `InvalidSetting`.
        """
        sources = self._sources(options)
        ours = options.crypto.answer() if options.crypto else None
        leg = await self.bind(room, sources, options.types)
        leg.endpoint.srtp = Srtp(ours, options.crypto) if ours and options.crypto else None
        call = self.join(leg, CallOptions(kind="rtp", name=options.name))
        host, port = leg.endpoint.place
        log_event("rtp leg", call=call.id, room=room, address=f"{host}:{port}", srtp=ours is not None)
        return call, self._answer(call, leg.endpoint, ours)

    async def bind(
        self, room: str, sources: tuple[Network, ...], types: PayloadTypes, *, ends_with_bye: bool = True
    ) -> RtpLeg:
        """Open the ports of a leg that is to join a room, or be released; raises `PoolFull`.

        `ends_with_bye`: an RTCP BYE of the peer's ends the call.
        """
        self._calls.admit(room)
        call_id = self._calls.new_id()

        def leave() -> None:
            if ends_with_bye:
                self._calls.end(call_id, "the peer has left")

        endpoint = RtpEndpoint(
            Latch(sources, self._settings.rtp_silent_s), types, lambda _: leg.session, leave, clock=self._clock
        )
        endpoint.busy_until_s = math.inf  # nobody is heard before it joins
        leg = RtpLeg(call_id, room, endpoint, self._clock())
        try:
            await endpoint.open_pair(self._settings.rtp_host, self._candidates())
        except OSError as error:
            raise PoolFull(str(error)) from error
        except BaseException:
            endpoint.close()
            raise
        return leg

    def join(self, leg: RtpLeg, options: CallOptions) -> Call:
        """Let a leg into its room and return its call; raises `PoolFull`, and then it is released."""
        try:
            self._calls.admit(leg.room)  # others may have come since its ports were opened
        except PoolFull:
            leg.endpoint.close()
            raise
        endpoint, types = leg.endpoint, leg.endpoint.types
        one = self._calls.make_leg(leg.call_id, leg.room, types.codec, options)
        send, send_report, pass_on = endpoint.send, endpoint.send_report, self._calls.pass_event
        leg.session = RtpSession(one, types, endpoint.source, send, send_report, pass_on, self._clock)
        leg.opened_s, endpoint.busy_until_s = self._clock(), -math.inf
        call = Call(leg.call_id, options.kind, one, partial(self._close, leg.call_id), rtp=leg.session)
        self._open[call.id] = leg
        self._calls.add(call)
        self._calls.start(self._calls.join(call))
        return call

    @staticmethod
    def release(leg: RtpLeg) -> None:
        """Close the ports of a leg that has not joined."""
        leg.endpoint.close()

    def _sources(self, options: RtpOptions) -> tuple[Network, ...]:
        """Return who may send to a leg; raises `InvalidSetting` where that would be everybody."""
        if options.remote is None:
            if not self._allowed and options.crypto is None and not is_loopback(self._settings.rtp_host):
                raise InvalidSetting(
                    "expected remote, crypto, or rtp_sources among the settings: others can reach the port"
                )
            return self._allowed
        if self._allowed and not contains(self._allowed, options.remote):
            raise InvalidSetting(f"remote: expected an address among rtp_sources, got {options.remote}")
        return networks((options.remote,), "remote")

    def _candidates(self) -> list[int]:
        """Return the ports to try, in any order."""
        if self._settings.rtp_ports is None:
            return [0] * TRIES
        first, last = port_range(self._settings.rtp_ports, "rtp_ports")
        even = list(range(first + first % 2, last, 2))
        random.shuffle(even)
        return even

    def _answer(self, call: Call, endpoint: RtpEndpoint, ours: Crypto | None) -> dict[str, Any]:
        types, (host, port) = endpoint.types, endpoint.place
        kinds = {"audio": types.audio, "telephone-event": types.events}
        if types.noise is not None:
            kinds["comfort-noise"] = types.noise
        return {
            "call": call.id,
            "address": self._settings.address_for_others(host),
            "port": port,
            "rtcp_port": port + 1,
            "codec": types.codec,
            "payload_types": kinds,
            "crypto": ours.line if ours else None,
            "recorded": self._calls.recorder.records(call.leg.room),
        }

    def look_after(self) -> None:
        """End the legs whose peer is silent or never came; called every second."""
        now_s = self._clock()
        for call_id, leg in list(self._open.items()):
            if leg.may_be_silent:
                continue
            if leg.endpoint.latch.is_silent(now_s):
                self._calls.end(call_id, f"nothing heard for {self._settings.rtp_silent_s:g} s")
            elif leg.endpoint.latch.caller is None and now_s - leg.opened_s > self._settings.idle_s:
                self._calls.end(call_id, f"nobody came within {self._settings.idle_s:g} s")

    async def _close(self, call_id: str) -> None:
        leg = self._open.pop(call_id)
        assert leg.session
        leg.session.leave()
        leg.endpoint.close()
        leg.on_close()
