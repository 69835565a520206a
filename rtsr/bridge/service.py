"""OPEN FIRST. The bridge as its clients meet it: HTTP in front, calls behind it, one media thread for all streams.

browser, OBS, GStreamer ── HTTP: offers ──► service ──► calls ──► peer (aiortc) ──► media ──► pool
                        ◄── audio, encrypted ──────────────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ..backend import load
from ..daemon.priority import be_less_nice
from ..errors import InvalidSetting, PoolFull, RtsrError, UnknownName
from . import rooms, whip
from .audiosocket import AudioSocketServer
from .authentication import Authentication
from .bodies import ids_of, options_of, read_json
from .call import Call
from .calls import CALLS, Calls
from .capacity import CALL_COUNTS, measure
from .config import NAME, BridgeSettings
from .ice_restarts import answer_again
from .listener import Listener
from .log import log_event
from .media import MediaThread
from .media_socket import MediaSockets
from .metrics import exposition
from .page import files
from .rehearsal import rehearse
from .reload import Reload
from .report import report_of
from .rtp_legs import RtpLegs, RtpOptions
from .sip.exchange import Exchange
from .sip.settings import read_tables
from .telephone import Telephone
from .tls import server_context

RETRY_AFTER_S = 10
SWEEP_S = 1.0
STALLED_S = 2.0  # without a tick, and the bridge is not healthy
SWITCH_S = 0.0002  # that the clock waits for the interpreter while another thread computes
CLOSE_S = 1.0  # that requests have to end when the bridge does

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = logging.getLogger("rtsr.bridge")


def refuse(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error as JSON."""
    return web.json_response({"error": text}, status=status, headers=headers)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn the errors of rtsr into responses, and any other exception into 500 and a log entry."""
    try:
        return await handler(request)
    except PoolFull as error:
        return refuse(503, str(error), {"Retry-After": str(RETRY_AFTER_S)})
    except (InvalidSetting, UnknownName) as error:
        return refuse(400, str(error))
    except TimeoutError:
        return refuse(408, f"expected the request within {whip.READ_S:g} s")
    except (web.HTTPException, asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        log.exception("a request failed: %s %s", request.method, request.path)
        return refuse(500, "internal error; the log of the bridge has the details")


class BridgeService:
    """One running bridge. `run` ends after SIGTERM, when its calls have, or at once on SIGINT."""

    def __init__(self, settings: BridgeSettings, read: Callable[[], BridgeSettings] | None = None) -> None:
        """Open the model and measure what fits; takes seconds. Raises what opening and reading raise.

        `read` returns the settings as they are when SIGHUP comes.
        """
        self.settings = settings
        tokens, self._tls = settings.all_tokens(), server_context(settings.tls_cert, settings.tls_key)
        read_tables(settings.sip)  # an error in them is found before the model is opened
        log_event("preparing", model=settings.model, backend=settings.backend)
        model = load(settings.model, settings.backend, rows=settings.calls or max(CALL_COUNTS))
        rehearse(model.spec, settings.packet_ms)
        limit = settings.calls or measure(model, settings.packet_ms)
        self.loop = asyncio.new_event_loop()
        self.media = MediaThread(model, limit, self._send, settings.packet_ms)
        self.calls = Calls(self.media, settings, limit)
        self.telephone = Telephone(settings, self.calls) if settings.rtp else None
        self.rtp_legs = RtpLegs(settings, self.calls)
        self.sip = Exchange(settings, self.calls, self.rtp_legs)
        self.authentication = Authentication(tokens, settings.origins, settings.trusts)
        self.reload = Reload(settings, read, self.authentication, self.calls, self.sip)
        self.media_sockets = MediaSockets(self.calls, self.authentication, settings.middlebox_url)
        self.audiosocket = AudioSocketServer(settings, self.calls) if settings.audiosocket else None
        self.app = web.Application(middlewares=[self.authentication.guard, errors], client_max_size=settings.sdp_bytes)
        self.app[CALLS] = self.calls
        self._route(self.app.router)
        self.url = ""
        self.listening: Callable[[BridgeService], None] = lambda _: None  # called once the bridge takes calls
        self.listener: Listener | None = None
        self._ending: asyncio.Event | None = None

    def _route(self, router: web.UrlDispatcher) -> None:
        room, call = f"{{room:{NAME.pattern}}}", f"{{call:{NAME.pattern}}}"
        for name, file in files().items():
            router.add_get(f"/{name}", file.serve)
        router.add_get("/healthz", self.health)
        router.add_get("/readyz", self.ready)
        router.add_get("/metrics", self.metrics)
        router.add_post(f"/rooms/{room}/offer", self.offer)
        router.add_patch(f"/rooms/{room}/calls/{call}", self.change)
        router.add_delete(f"/rooms/{room}/calls/{call}", self.hang_up)
        router.add_get(f"/media/{room}", self.media_sockets.join)
        router.add_get("/middlebox", self.media_sockets.stand_between)
        router.add_get(f"/calls/{call}", self.show_call)
        router.add_post(f"/rooms/{room}/rtp", self.open_rtp)
        router.add_delete(f"/rooms/{room}/rtp/{call}", self.hang_up)
        router.add_post(f"/rooms/{room}/sip", self.sip.dial)
        router.add_delete(f"/rooms/{room}/sip/{call}", self.hang_up)
        rooms.route(router, room)
        whip.route(router, room, call)

    def _send(self, packets: list[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended a moment before the clock
            self.loop.call_soon_threadsafe(self.calls.deliver, packets)

    def run(self) -> None:
        """Serve until `stop`; the main thread's.

        The clock never waits long for the interpreter: not for the collector of what was loaded at the start, nor for
        another process to let go of a processor that the event loop is on.
        """
        gc.collect()
        gc.freeze()
        be_less_nice()
        sys.setswitchinterval(SWITCH_S)
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._ending = asyncio.Event()
        runner = web.AppRunner(
            self.app,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=self.settings.http_s,
            shutdown_timeout=CLOSE_S,
        )
        await runner.setup()
        assert runner.server is not None
        self.listener = Listener(runner.server, self._tls, self.settings)
        try:
            self.url = await self.listener.open()
            if self.telephone:
                await self.telephone.open()
            if self.audiosocket:
                await self.audiosocket.open()
            await self.sip.open()
            self.calls.recorder.start()
            self.media.start()
            self._take_signals()
            self.listening(self)
            log_event("listening", url=self.url, calls=self.calls.limit, backend=self.media.pool.model.name)
            await self._watch()
        finally:
            await self.listener.stop()
            await self.calls.drain(0)
            await self.sip.close()
            if self.telephone:
                self.telephone.close()
            if self.audiosocket:
                await self.audiosocket.close()
            await runner.cleanup()
            await self.listener.close()
            self.media.stop()
            log_event("stopped")
        if failed := self.media.failed:
            raise RtsrError(f"the clock of the bridge stopped: {type(failed).__name__}: {failed}") from failed

    def _take_signals(self) -> None:
        for number, limit_s in ((signal.SIGTERM, self.settings.drain_s), (signal.SIGINT, 0.0)):
            self.loop.add_signal_handler(number, self.stop, limit_s)
        if self.reload.has_something and self.listener:
            self.loop.add_signal_handler(signal.SIGHUP, self.reload.now, self.listener)

    async def _watch(self) -> None:
        """Look after calls until the bridge is to end, or the media thread has stopped."""
        assert self._ending is not None
        while not self._ending.is_set() and self.media.alive:
            self.calls.sweep()
            if self.telephone:
                await self.telephone.look_after()
            self.rtp_legs.look_after()
            if self.listener:
                self.listener.sweep()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), SWEEP_S)

    def stop(self, limit_s: float) -> None:
        """Let no call in any more and end when the last one has, within a limit; a second time, at once."""
        if self.calls.draining or limit_s == 0:
            self._end()
            return
        log_event("draining", calls=len(self.calls.by_id), limit_s=limit_s)
        self.calls.draining = True
        self._drain = asyncio.ensure_future(self.calls.drain(limit_s))
        self._drain.add_done_callback(lambda _: self._end())

    def _end(self) -> None:
        if self._ending:
            self._ending.set()

    async def health(self, _: web.Request) -> web.Response:
        """200 while the clock ticks."""
        stopped = not self.media.alive or time.monotonic() - self.media.ticked_s > STALLED_S
        return web.Response(status=503 if stopped else 200, text="the clock has stopped\n" if stopped else "ok\n")

    async def ready(self, _: web.Request) -> web.Response:
        """200 while one more call would be let in, otherwise 503 with the reason."""
        reason = self.calls.why_full()
        if not reason and self.telephone and not self.telephone.is_open:
            reason = "the RTP port is closed"
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ready'}\n")

    async def metrics(self, _: web.Request) -> web.Response:
        """Everything that can be counted, for Prometheus."""
        body = exposition(self.calls, self.listener)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})

    async def offer(self, request: web.Request) -> web.Response:
        """Take a two-way call into a room: JSON with sdp, and if wanted name, narrow_hz, echo, replaces; 201.

        410 where the call that it replaces was hung up: a peer that lost its connection may go on, this one may not.
        """
        body = await read_json(request)
        sdp, options = body.get("sdp"), options_of(body)
        if not isinstance(sdp, str):
            raise InvalidSetting('expected {"sdp": "..."} with an offer')
        if why := self.calls.hung_up.get(options.replaces):
            raise web.HTTPGone(text=why)
        call, answer = await self.calls.answer(request.match_info["room"], sdp, options)
        place = f"/rooms/{call.leg.room}/calls/{call.id}"
        recorded = self.calls.recorder.records(call.leg.room)
        reply = {"type": "answer", "sdp": answer, "call": call.id, "recorded": recorded}
        return web.json_response(reply, status=201, headers={"Location": place})

    async def open_rtp(self, request: web.Request) -> web.Response:
        """Open a leg of plain RTP or SRTP in a room: JSON with what `RtpOptions` reads; 201 with its ports."""
        room = request.match_info["room"]
        call, answer = await self.rtp_legs.open(room, RtpOptions.read(await read_json(request)))
        return web.json_response(answer, status=201, headers={"Location": f"/rooms/{room}/rtp/{call.id}"})

    async def show_call(self, request: web.Request) -> web.Response:
        """Return the report of a call that lasts."""
        call = self.calls.by_id.get(request.match_info["call"])
        if call is None:
            raise web.HTTPNotFound(text="no such call")
        return web.json_response(report_of(call))

    def _call(self, request: web.Request) -> Call | None:
        call = self.calls.by_id.get(request.match_info["call"])
        return call if call is not None and call.leg.room == request.match_info["room"] else None

    async def change(self, request: web.Request) -> web.Response:
        """Change how a speaker is heard by everyone, {"bypass": true}, or by one listener, {"plain": [CALL, ...]}.

        {"sdp": OFFER} is an ICE restart, whose answer is returned.
        """
        body, call = await read_json(request), self._call(request)
        if call is None:
            raise web.HTTPNotFound(text="no such call")
        if set(body) == {"bypass"} and isinstance(body["bypass"], bool):
            await self.calls.bypass(call, body["bypass"])
        elif set(body) == {"plain"}:
            await self.calls.choose(call, ids_of(body["plain"]))
        elif set(body) == {"sdp"} and isinstance(body["sdp"], str):
            return web.json_response({"type": "answer", "sdp": await answer_again(self.calls, call, body["sdp"])})
        else:
            raise InvalidSetting('expected {"bypass": true}, {"bypass": false}, {"plain": [...]} or {"sdp": "..."}')
        return web.json_response(call.stats())

    async def hang_up(self, request: web.Request) -> web.Response:
        """End a call; one that is gone is no error, as a peer's connection may end before its request comes."""
        if call := self._call(request):
            self.calls.hang_up(call.id, "hung up")
        return web.Response(status=200)
