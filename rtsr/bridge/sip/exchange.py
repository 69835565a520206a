"""All of the bridge's SIP: one agent for each table [[bridge.sip]]. The event loop's."""

from __future__ import annotations

from ..calls import Calls
from ..config import BridgeSettings
from ..rtp_legs import RtpLegs
from .agent import SipAgent
from .settings import read_tables


class Exchange:
    """The agents of a bridge, by name."""

    def __init__(self, settings: BridgeSettings, calls: Calls, legs: RtpLegs) -> None:
        """Read the tables; raises `InvalidSetting`."""
        tables = read_tables(settings.sip)
        self.agents = {table.name: SipAgent(table, settings, calls, legs) for table in tables}

    async def open(self) -> None:
        """Listen; raises `InvalidSetting` where that cannot be."""
        for agent in self.agents.values():
            await agent.open()

    async def close(self) -> None:
        """End all calls and close everything."""
        for agent in self.agents.values():
            await agent.close()
