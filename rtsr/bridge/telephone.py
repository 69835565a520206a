"""The RTP leg that the settings name: what SIP servers and media proxies hand over, as one more caller in a room.

The port is open as long as the bridge runs. A call begins with its caller's second packet and ends when the caller
leaves or falls silent, when somebody hangs up, or when its audio cannot be processed; then the next one may begin.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from ..errors import InvalidSetting, PoolFull
from .call import Call, CallOptions
from .calls import Calls
from .config import BridgeSettings, address, networks
from .latch import Latch
from .log import log_event
from .rtp import PayloadTypes
from .rtp_endpoint import Place, RtpEndpoint
from .rtp_session import RtpSession

BUSY_S = 5.0  # for which no caller is admitted after one was refused
AGAIN_S = 1.0  # after a caller has left, before the next call: a peer must not begin and end calls as fast as it can


class Telephone:
    """Joins the sender of RTP to its port to a room, and sends back its mix. The event loop's."""

    def __init__(self, settings: BridgeSettings, calls: Calls, clock: Callable[[], float] = time.monotonic) -> None:
        assert settings.rtp is not None
        self._settings, self._calls, self._clock = settings, calls, clock
        self._types = PayloadTypes.of(settings.codec)
        latch = Latch(networks(settings.rtp_sources, "rtp_sources"), settings.rtp_silent_s)
        self.endpoint = RtpEndpoint(latch, self._types, self._begin, self._left, clock=clock)
        self._place = address(settings.rtp, "rtp")  # with the port that the system chose, once it has
        self._lost = False  # the port, and that was logged
        self._call: Call | None = None

    @property
    def is_open(self) -> bool:
        """Whether a caller could be heard."""
        return self.endpoint.is_open

    async def open(self) -> None:
        """Bind the port, and the next one for RTCP if it is free; raises `InvalidSetting` where that cannot be."""
        try:
            await self.endpoint.open(self._place)
        except OSError as error:
            reason = f"cannot take RTP on {self._settings.rtp} ({error.strerror}): choose another"
            raise InvalidSetting(reason) from error
        host, number = self._place = self.endpoint.place
        has_rtcp = self.endpoint.rtcp is not None
        log_event("rtp", address=f"{host}:{number}", room=self._settings.room, rtcp=has_rtcp)

    def close(self) -> None:
        """Take nothing any more."""
        self.endpoint.close()

    async def look_after(self) -> None:
        """End a call whose caller is silent, and open the port again where it was lost; called every second."""
        if self.endpoint.latch.is_silent(self._clock()):
            self._hang_up(f"nothing heard for {self._settings.rtp_silent_s:g} s")
        if self.is_open:
            return
        if not self._lost:
            log_event("rtp lost", address=":".join(map(str, self._place)))
        self._lost = True
        with contextlib.suppress(InvalidSetting):  # readiness says so until it can be
            await self.open()
            self._lost = False

    def _left(self) -> None:
        self.endpoint.busy_until_s = self._clock() + AGAIN_S
        self._hang_up("the caller has left")

    def _begin(self, place: Place) -> RtpSession | None:
        """Begin a call if there is room for one."""
        room, caller = self._settings.room, f"{place[0]}:{place[1]}"
        try:
            self._calls.admit(room)
        except PoolFull as error:
            log_event("rtp refused", address=caller, room=room, why=error)
            self.endpoint.latch.forget()
            self.endpoint.busy_until_s = self._clock() + BUSY_S
            return None
        options = CallOptions(kind="rtp", name="telephone")
        leg = self._calls.make_leg(self._calls.new_id(), room, self._types.codec, options)
        send, send_report = self.endpoint.send, self.endpoint.send_report
        source, pass_on = self.endpoint.source, self._calls.pass_event
        session = RtpSession(leg, self._types, source, send, send_report, pass_on, self._clock)
        call = Call(leg.call, "rtp", leg, lambda: self._ended(call), rtp=session)
        self._call = call
        log_event("rtp caller", address=caller, call=call.id, room=room)
        self._calls.add(call)
        self._calls.start(self._calls.join(call))
        return session

    def _hang_up(self, why: str) -> None:
        """End the call; the next caller may be the same one."""
        self.endpoint.latch.forget()
        call, self._call = self._call, None
        if call:
            self._say_bye()
            self._calls.end(call.id, why)

    async def _ended(self, call: Call) -> None:
        """Note that a call has been ended by others. A caller whom somebody hung up on has to begin anew."""
        if self._call is not call:
            return
        self._call = None
        self._say_bye()
        if call.leg.failed:
            self.endpoint.latch.forget()
        else:
            self.endpoint.latch.refuse(self._clock())

    def _say_bye(self) -> None:
        if self.endpoint.session:
            self.endpoint.session.leave()
        self.endpoint.forget_caller()
