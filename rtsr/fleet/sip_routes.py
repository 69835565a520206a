"""How requests of SIP find their way through the gateway: what is put into them, and read from them. No network.

Both ends of a call get two routes, one for either side (RFC 3261, section 16.6; RFC 5658): the topmost one of a later
request says which end has sent it. The user part of a route names both ends and is signed, as are the flow tokens of
RFC 5626, section 5.2. So the gateway keeps nothing of a call, and sends nothing to those that it has not named itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import astuple, dataclass

from ..bridge.config import BridgeSettings
from ..bridge.sip.dialog import bracketed, via_of
from ..bridge.sip.fields import NameAddress, split
from ..bridge.sip.message import Request, Response
from ..bridge.sip.path import Place

TELEPHONE, WORKER, NEW = "telephone", "worker", "new"  # who sends what has a route: either end; a worker that calls
SIGNED_BYTES = 16
HOPS = 70


@dataclass(frozen=True, slots=True)
class Way:
    """What a route says."""

    sender: str  # TELEPHONE, WORKER or NEW
    worker: str
    transport: str = "udp"  # and the address of the telephone's end; NEW has none yet
    host: str = ""
    port: int = 0


class Routes:
    """Writes and reads routes, by a key that all who write them share."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def uri(self, way: Way, place: Place, transport: str) -> str:
        """Return the URI of a route through the gateway at a place."""
        text = "|".join(map(str, astuple(way))).encode()
        user = base64.urlsafe_b64encode(self._signature(text) + text).decode().rstrip("=")
        which = "" if transport == "udp" else f";transport={transport}"
        return f"sip:{user}@{bracketed(place[0])}:{place[1]}{which};lr"

    def read(self, route: str) -> Way | None:
        """Return what a value of Route says; None for one that is not ours."""
        try:
            user = NameAddress.read(route).uri.user
            data = base64.urlsafe_b64decode(user + "=" * (-len(user) % 4))
            text = data[SIGNED_BYTES:]
            if not hmac.compare_digest(data[:SIGNED_BYTES], self._signature(text)):
                return None
            sender, worker, transport, host, port = text.decode().split("|")
            return Way(sender, worker, transport, host, int(port))
        except ValueError:
            return None

    def taken(self, request: Request) -> tuple[Way | None, list[str]]:
        """Return what the topmost Route of a request says, and the routes that are left after ours."""
        left = request.all("route")
        first = self.read(left[0]) if left else None
        while left and self.read(left[0]) is not None:
            del left[0]
        return first, left

    def _signature(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")[:SIGNED_BYTES]


def make_key(settings: BridgeSettings) -> bytes:
    """Return a key: the same for the same tokens, so that calls outlast a new gateway; without tokens a random one."""
    tokens = settings.all_tokens()
    return hashlib.sha256("\n".join(("routes", *tokens)).encode()).digest() if tokens else secrets.token_bytes(32)


def hops_left(request: Request) -> int:
    """Return how often a request may still go on; raises `ValueError`."""
    text = request.get("max-forwards") or str(HOPS)
    if not text.isascii() or not text.isdecimal() or len(text) > 3:
        raise ValueError("Max-Forwards")
    return int(text)


def passed_on(request: Request, local: Place, transport: str, routes: list[str], record: list[str]) -> Request:
    """Return a request as it goes on from `local`: with a Via of ours, and `record` as Record-Route, topmost first."""
    kept = [(name, value) for name, value in request.headers if name not in ("route", "max-forwards")]
    made = [
        ("via", via_of(local, transport)),
        *(("record-route", f"<{uri}>") for uri in record),
        *(("route", value) for value in routes),
        ("max-forwards", str(hops_left(request) - 1)),
    ]
    return request.with_headers([*made, *kept])


def returned(response: Response) -> Response:
    """Return a response as it goes back: without our Via, which is its topmost."""
    place = next(number for number, (name, _) in enumerate(response.headers) if name == "via")
    below = split(response.headers[place][1], ",")[1:]
    left = [("via", ", ".join(below))] if below else []
    headers = [*response.headers[:place], *left, *response.headers[place + 1 :]]
    return Response(headers, response.body, response.status, response.reason)
