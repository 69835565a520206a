"""Registration at a registrar, so that its calls to our number come to us (RFC 3261, section 10). The event loop's."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets

from ..log import log_event
from .dialog import Dialog, contact_of, new_tag
from .fields import NameAddress, Uri
from .line import Line
from .message import Response
from .path import Path

EARLY = (0.5, 0.8)  # share of its time after which a registration is renewed
AGAIN_S, MOST_AGAIN_S = 5.0, 300.0  # after a failure, doubled with each
LEAVE_S = 1.0
TRIES = 3  # of one registration: with credentials, and for longer


class Registration:
    """Keeps one address registered from `start` to `stop`."""

    def __init__(self, line: Line) -> None:
        self.registered = False
        self._line = line
        self._running: asyncio.Task[None] | None = None
        self._call_id, self._tag, self._number = secrets.token_hex(16), new_tag(), 0
        self._expires_s = line.settings.expires_s

    def start(self) -> None:
        """Keep us registered from now on, with the password of now."""
        if self._running:
            self._running.cancel()
        self._running = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """End the registration, within a limit."""
        if self._running:
            self._running.cancel()
            await asyncio.wait([self._running])
        if self.registered:
            self.registered = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._register(0), LEAVE_S)

    async def _run(self) -> None:
        pause_s = AGAIN_S
        while True:
            response = await self._register(self._expires_s)
            registered = 200 <= response.status < 300
            if registered != self.registered or not registered:
                why = {} if registered else {"status": response.status, "why": response.reason}
                log_event(
                    "sip registered" if registered else "sip not registered", name=self._line.settings.name, **why
                )
            self.registered = registered
            if registered:
                pause_s = AGAIN_S
                await asyncio.sleep(self._granted(response) * random.uniform(*EARLY))
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MOST_AGAIN_S)

    async def _register(self, expires_s: int) -> Response:
        """Send REGISTER and return its final answer."""
        line, settings = self._line, self._line.settings
        await line.look_up_server()
        try:
            path = await line.paths.to(settings.first_hop(settings.server_place), settings.transport)
        except OSError as error:
            return Response([], b"", 503, str(error))
        extra: list[tuple[str, str]] = []
        for _ in range(TRIES):
            dialog = self._dialog(path)
            contact = contact_of(dialog.place, path.transport, settings.username or "")
            headers = [("contact", contact), ("expires", str(expires_s)), *extra]
            request = dialog.request("REGISTER", headers)
            self._number = dialog.local_number
            response = await line.transactions.ask(request, path)
            if response.status == 423 and (least := _number(response.get("min-expires"))):
                self._expires_s = expires_s = max(expires_s, least)
            elif (header := line.credentials(request, response)) and not extra:
                extra = [header]
            else:
                break
        return response

    def _dialog(self, path: Path) -> Dialog:
        """Return what has the headers of our requests; it is no dialog."""
        settings = self._line.settings
        assert settings.own_domain is not None
        own = Uri("sip", settings.username or "", settings.own_domain)
        local, remote = NameAddress(own, "", {"tag": self._tag}), NameAddress(own)
        target = Uri("sip", "", settings.own_domain)
        place = self._line.place(path)
        return Dialog(self._call_id, local, remote, target, settings.first_route, path, place, self._number)

    def _granted(self, response: Response) -> int:
        """Return for how many seconds we are registered."""
        for value in response.all("contact"):
            found = NameAddress.read(value)
            if found.uri.number == self._line.settings.username and (seconds := _number(found.params.get("expires"))):
                return min(seconds, self._expires_s)
        return min(_number(response.get("expires")) or self._expires_s, self._expires_s)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else 0
