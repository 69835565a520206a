"""RTP legs that are opened by request, for Asterisk's externalMedia, rtpengine and other media proxies.

`POST /rooms/ROOM/rtp` opens two ports and answers with them. The peer sends first: two packets in sequence tell where
the room's audio goes to (symmetric RTP, RFC 4961). Everything is the event loop's.
"""

from __future__ import annotations

import ipaddress
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
from .config import BridgeSettings, Network, is_loopback, networks, port_range
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


class RtpLegs:
    """Opens legs, and ends those whose peer is silent."""

    def __init__(self, settings: BridgeSettings, calls: Calls, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._calls, self._clock = settings, calls, clock
        self._allowed = networks(settings.rtp_sources, "rtp_sources")
        self._open: dict[str, tuple[RtpEndpoint, RtpSession, float]] = {}  # by call, and when it was opened

    async def open(self, room: str, options: RtpOptions) -> tuple[Call, dict[str, Any]]:
        """Open a leg and let it into a room; returns its call and the answer.

        Raises `PoolFull` where there is no room for one more, or no port, and `InvalidSetting`.
        """
        self._calls.admit(room)
        latch = Latch(self._sources(options), self._settings.rtp_silent_s)
        ours = options.crypto.answer() if options.crypto else None
        srtp = Srtp(ours, options.crypto) if ours and options.crypto else None
        call_id = self._calls.new_id()
        leg = self._calls.make_leg(call_id, room, options.types.codec, CallOptions(kind="rtp", name=options.name))

        def leave() -> None:
            self._calls.end(call_id, "the peer has left")

        endpoint = RtpEndpoint(latch, options.types, lambda _: session, leave, srtp, self._clock)
        send, send_report, pass_on = endpoint.send, endpoint.send_report, self._calls.pass_event
        session = RtpSession(leg, options.types, endpoint.source, send, send_report, pass_on, self._clock)
        try:
            await endpoint.open_pair(self._settings.rtp_host, self._candidates())
            self._calls.admit(room)  # others may have come meanwhile
        except OSError as error:
            raise PoolFull(str(error)) from error
        except BaseException:
            endpoint.close()
            raise
        call = Call(call_id, "rtp", leg, partial(self._close, call_id), rtp=session)
        self._open[call_id] = (endpoint, session, self._clock())
        self._calls.add(call)
        self._calls.start(self._calls.join(call))
        host, port = endpoint.place
        log_event("rtp leg", call=call_id, room=room, address=f"{host}:{port}", srtp=srtp is not None)
        return call, self._answer(call, endpoint, ours)

    def _sources(self, options: RtpOptions) -> tuple[Network, ...]:
        """Return who may send to a leg; raises `InvalidSetting` where that would be everybody."""
        if options.remote is None:
            if not self._allowed and options.crypto is None and not is_loopback(self._settings.rtp_host):
                raise InvalidSetting(
                    "expected remote, crypto, or rtp_sources among the settings: others can reach the port"
                )
            return self._allowed
        if self._allowed and not Latch(self._allowed).admits(options.remote):
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
            "address": host,
            "port": port,
            "rtcp_port": port + 1,
            "codec": types.codec,
            "payload_types": kinds,
            "crypto": ours.line if ours else None,
        }

    def look_after(self) -> None:
        """Send reports, and end the legs whose peer is silent or never came; called every second."""
        now_s = self._clock()
        for call_id, (endpoint, session, opened_s) in list(self._open.items()):
            with self._calls.media.faults.survived("send", f"a report could not be sent: call={call_id}"):
                session.report()
            if endpoint.latch.is_silent(now_s):
                self._calls.end(call_id, f"nothing heard for {self._settings.rtp_silent_s:g} s")
            elif endpoint.latch.caller is None and now_s - opened_s > self._settings.idle_s:
                self._calls.end(call_id, f"nobody came within {self._settings.idle_s:g} s")

    async def _close(self, call_id: str) -> None:
        endpoint, session, _ = self._open.pop(call_id)
        session.leave()
        endpoint.close()
