"""All of the bridge's SIP: one agent for each table [[bridge.sip]]. The event loop's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from ...errors import CallRefused, InvalidSetting, UnknownName
from ..bodies import LONGEST_NAME, read_json
from ..calls import Calls
from ..config import BridgeSettings
from ..rtp_legs import RtpLegs
from .agent import SipAgent
from .outgoing import dial
from .settings import read_tables

KEYS = ("to", "line", "name")


class Exchange:
    """The agents of a bridge, by name."""

    def __init__(self, settings: BridgeSettings, calls: Calls, legs: RtpLegs) -> None:
        """Read the tables; raises `InvalidSetting`."""
        tables, self._calls = read_tables(settings.sip), calls
        self.agents = {table.name: SipAgent(table, settings, calls, legs) for table in tables}

    async def open(self) -> None:
        """Listen; raises `InvalidSetting` where that cannot be."""
        for agent in self.agents.values():
            await agent.open()

    def renewed(self, tables: Sequence[dict[str, Any]]) -> Callable[[], None]:
        """Return what lets the lines take the certificates and passwords of tables with their names.

        Raises `InvalidSetting`, and then nothing has changed.
        """
        steps = [self.agents[one.name].renewed(one) for one in read_tables(tables) if one.name in self.agents]

        def take() -> None:
            for step in steps:
                step()

        return take

    async def close(self) -> None:
        """End all calls and close everything."""
        for agent in self.agents.values():
            await agent.close()

    async def dial(self, request: web.Request) -> web.Response:
        """Call somebody into a room: JSON with to, and if wanted line and name; 201 once that is answered.

        502 with the status of SIP where it is not. A client that goes away ends the attempt.
        """
        room, body = request.match_info["room"], await read_json(request)
        to, name = body.get("to"), body.get("name", "")
        if set(body) - set(KEYS) or not isinstance(to, str) or not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise InvalidSetting('expected {"to": "NUMBER or sip:NUMBER@HOST"}, and if wanted line and name')
        line = body.get("line", next(iter(self.agents), ""))
        if line not in self.agents:
            raise UnknownName("line", str(line)[:64], self.agents)
        try:
            call = await dial(self.agents[line].line, room, to, name)
        except CallRefused as error:
            return web.json_response({"error": str(error), "status": error.status}, status=502)
        place = f"/rooms/{room}/sip/{call.id}"
        found = {"call": call.id, "codec": call.leg.codec, "recorded": self._calls.recorder.records(room)}
        return web.json_response(found, status=201, headers={"Location": place})
