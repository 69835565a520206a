"""Who may use the bridge: bearer tokens, and the origins of pages."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web
from yarl import URL

from .config import is_loopback

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GUARDED = ("/rooms", "/whip/", "/whep/", "/calls/", "/ice", "/metrics")
EXPOSED = "Location, ETag, Link, Retry-After"
METHODS = "GET, POST, PATCH, DELETE, OPTIONS"
HEADERS = "Authorization, Content-Type, If-Match"
POLICY = "default-src 'self'; media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Authentication:
    """Refuses requests without one of the tokens (401), from pages of other origins (403), and to other hosts (421).

    `trusts` says whether the address that a request comes from is that of a proxy whose headers are believed.
    """

    def __init__(
        self, tokens: tuple[str, ...], origins: tuple[str, ...], trusts: Callable[[str], bool] = lambda address: False
    ) -> None:
        self.replace_tokens(tokens)
        self._trusts = trusts
        self._origins = frozenset(origins)
        self._hosts = {URL(origin).host for origin in origins}

    def replace_tokens(self, tokens: tuple[str, ...]) -> None:
        """Ask for one of these from now on."""
        self._tokens = [token.encode() for token in tokens]

    def accepts(self, authorization: str | None) -> bool:
        """Whether an Authorization header holds one of the tokens; takes as long for a wrong one as for a right one."""
        if not self._tokens:
            return True
        kind, _, given = (authorization or "").partition(" ")
        fits = [hmac.compare_digest(token, given.strip().encode(errors="surrogateescape")) for token in self._tokens]
        return kind.lower() == "bearer" and any(fits)

    def knows_origin(self, request: web.Request) -> bool:
        """Whether a request comes from no page, from our own, or from one of an origin that was named."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self._origins:
            return True
        scheme, host = self._asked_for(request)
        own = _parts(f"{scheme}://{host}")
        return own is not None and own == _parts(origin)

    def _asked_for(self, request: web.Request) -> tuple[str, str]:
        """Return the scheme and the host that the client used: those that a trusted proxy reports, else our own."""
        if not self._trusts(request.remote or ""):
            return request.scheme, request.host
        scheme, host = _last(request, "X-Forwarded-Proto"), _last(request, "X-Forwarded-Host")
        return scheme or request.scheme, host or request.host

    def is_addressed(self, request: web.Request) -> bool:
        """Whether a request was meant for us: a page may give its own name our address (DNS rebinding).

        Only without tokens, which such a page cannot have; then we listen on this machine alone.
        """
        try:
            host = URL(f"//{self._asked_for(request)[1]}").host or ""
        except ValueError:
            return False
        return bool(self._tokens) or is_loopback(host) or host in self._hosts

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a request or pass it on, and add the headers that every answer has."""
        if not self.knows_origin(request):
            response: web.StreamResponse = web.json_response({"error": "a page of this origin may not"}, status=403)
        elif not self.is_addressed(request):
            reason = "expected a Host of this machine, or of an origin that was named"
            response = web.json_response({"error": reason}, status=421)
        elif request.method == "OPTIONS":
            response = web.Response(status=204, headers={"Accept-Post": "application/sdp"})
        elif request.path.startswith(GUARDED) and not self.accepts(request.headers.get("Authorization")):
            refusal = {"WWW-Authenticate": "Bearer"}
            response = web.json_response({"error": "expected a bearer token"}, status=401, headers=refusal)
        else:
            response = await self._handled(request, handler)
        self._add_headers(request, response)
        return response

    async def _handled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:  # so that 404 and 405 have the headers too
            return web.json_response({"error": error.text or error.reason}, status=error.status, headers=_kept(error))

    def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers that every answer has."""
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers.setdefault("Cache-Control", "no-store")
        origin = request.headers.get("Origin")
        if origin in self._origins and origin:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Methods"] = METHODS
            response.headers["Access-Control-Allow-Headers"] = HEADERS
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
            response.headers["Vary"] = "Origin"


def _kept(error: web.HTTPException) -> dict[str, str]:
    """The headers of an error that say something: what is allowed instead."""
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def _last(request: web.Request, name: str) -> str:
    """The value that the nearest proxy has given a header: the last one, as those before it may be the client's."""
    return ",".join(request.headers.getall(name, ())).rpartition(",")[2].strip()


def _parts(origin: str) -> tuple[str, str | None, int | None] | None:
    """The scheme, host and port of an origin, also where the port is the scheme's own; None for what is none."""
    try:
        url = URL(origin)
        return (url.scheme, url.host, url.port) if url.scheme and url.host else None
    except ValueError:
        return None
