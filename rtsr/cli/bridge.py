"""`rtsr bridge`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InvalidSetting, MissingDependency
from . import BACKEND_NAMES, app
from .options import grouped


@dataclass(frozen=True)
class BridgeOptions:
    """What `rtsr bridge` takes; what is not given is None."""

    listen: Annotated[str | None, typer.Option(help="HOST:PORT of the page and of the API; 127.0.0.1:8443.")] = None
    tls: Annotated[
        tuple[Path, Path] | None, typer.Option("--tls", metavar="CERT KEY", help="Serve https with these PEM files.")
    ] = None
    token: Annotated[
        list[str] | None,
        typer.Option(
            envvar="RTSR_BRIDGE_TOKENS",
            help="A bearer token that requests have to carry; may be repeated. Other users see it in ps: better give "
            "--token-file, or the variable, which may hold several with spaces between.",
        ),
    ] = None
    token_file: Annotated[Path | None, typer.Option(help="A file with such tokens, one a line.")] = None
    allow_plain_http: Annotated[
        bool, typer.Option("--allow-plain-http", help="Take tokens from other machines without TLS.")
    ] = False
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address or network of a reverse proxy whose X-Forwarded-Proto and -Host are believed."),
    ] = None
    model: Annotated[str | None, typer.Option(help="A shipped model's name or a manifest's path.")] = None
    backend: Annotated[str | None, typer.Option(help=BACKEND_NAMES)] = None
    config: Annotated[Path | None, typer.Option(help="A TOML file with a [bridge] table; options override it.")] = None
    calls: Annotated[int | None, typer.Option(help="At most so many at once; measured if not given.")] = None
    rtp: Annotated[str | None, typer.Option(help="HOST:PORT: join a plain RTP stream to a room.")] = None
    rtp_source: Annotated[
        list[str] | None, typer.Option(help="An address or network that may send RTP; may be repeated.")
    ] = None
    room: Annotated[str | None, typer.Option(help="The room that it joins.")] = None
    report_url: Annotated[str | None, typer.Option(help="Where a report of each call is posted as JSON.")] = None
    record: Annotated[
        Path | None, typer.Option(help="A folder: every speaker is recorded there, plain and enhanced, and told so.")
    ] = None
    record_on_request: Annotated[
        bool, typer.Option("--record-on-request", help="Record only rooms for which PATCH /rooms/ROOM asked.")
    ] = False
    codec: Annotated[str | None, typer.Option(help="Of the RTP stream: pcmu, pcma, g722, opus, l16 or l16-8k.")] = None


@dataclass(frozen=True)
class ReachOptions:
    """How calls reach the bridge: through NAT, from telephones and platforms. What is not given is None."""

    stun: Annotated[list[str] | None, typer.Option(help="stun:HOST[:PORT]; may be repeated.")] = None
    turn: Annotated[
        list[str] | None, typer.Option(help="turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST; may be repeated.")
    ] = None
    turn_username: Annotated[str | None, typer.Option(help="For TURN servers with a fixed user.")] = None
    turn_password: Annotated[
        str | None, typer.Option(envvar="RTSR_BRIDGE_TURN_PASSWORD", help="Better in the variable than in ps.")
    ] = None
    turn_secret: Annotated[
        str | None,
        typer.Option(
            envvar="RTSR_BRIDGE_TURN_SECRET",
            help="Shared with the TURN server (use-auth-secret of coturn): credentials then expire.",
        ),
    ] = None
    relay: Annotated[
        bool | None, typer.Option("--relay/--no-relay", help="Whether the bridge itself takes a relay; it does.")
    ] = None
    advertise: Annotated[
        list[str] | None, typer.Option(help="Public address, behind 1:1 NAT; one of IPv4, one of IPv6.")
    ] = None
    ice_address: Annotated[
        list[str] | None, typer.Option(help="Address, network or interface for calls; may be repeated; all.")
    ] = None
    ice_ports: Annotated[str | None, typer.Option(help="FIRST-LAST: UDP ports for calls.")] = None
    rtp_host: Annotated[str | None, typer.Option(help="Address for RTP legs by request; 127.0.0.1.")] = None
    rtp_ports: Annotated[str | None, typer.Option(help="FIRST-LAST: their UDP ports.")] = None
    audiosocket: Annotated[str | None, typer.Option(help="HOST:PORT for AudioSocket of Asterisk.")] = None
    middlebox_url: Annotated[
        str | None, typer.Option(help="WebSocket of a program that hears the enhanced voice and answers.")
    ] = None


@app.command()
@grouped
def bridge(options: BridgeOptions, reach: ReachOptions) -> None:
    """Carry calls between browsers, WebRTC programs and telephones, each voice enhanced.

    Open the page it serves, or use POST /rooms/ROOM/offer, WHIP at /whip/ROOM and WHEP at /whep/ROOM. SIGTERM lets
    calls end; SIGINT ends them.

    Examples:

        rtsr bridge                                               # then open http://127.0.0.1:8443

        rtsr bridge --listen 0.0.0.0:8443 --tls cert.pem key.pem --token-file tokens

        rtsr bridge --rtp 127.0.0.1:4000 --room desk --codec pcmu # a telephone leg in room "desk"

        rtsr bridge --record recordings                           # every speaker, plain and enhanced

        rtsr bridge --advertise 203.0.113.4 --ice-ports 20000-20499 --listen 0.0.0.0:8443 ... # in a container
    """
    try:
        from ..bridge.config import make_settings
        from ..bridge.log import to_stderr
        from ..bridge.service import BridgeService
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "aiortc", "webrtc", "rtsr bridge") from error
    given = {**_given(options), **_reach(reach)}
    settings = make_settings(options.config, given)
    if settings.rtp is None and (options.room or options.codec):
        reason = "--room and --codec: expected --rtp HOST:PORT, the telephone leg that they are about"
        raise InvalidSetting(reason)
    to_stderr()
    BridgeService(settings, (lambda: make_settings(options.config, given)) if options.config else None).run()


def _given(options: BridgeOptions) -> dict[str, Any]:
    """Return the options under the names of the settings, None where one was not given."""
    certificate, key = options.tls or (None, None)
    same = ("listen", "model", "backend", "calls", "rtp", "room", "codec", "report_url")
    lists = {"tokens": options.token, "rtp_sources": options.rtp_source, "trusted_proxies": options.trusted_proxy}
    files = {"record": options.record, "token_file": options.token_file, "tls_cert": certificate, "tls_key": key}
    return {
        **{name: getattr(options, name) for name in same},
        **{name: tuple(values) if values else None for name, values in lists.items()},
        **{name: str(path) if path else None for name, path in files.items()},
        "allow_plain_http": options.allow_plain_http or None,
        "record_on_request": options.record_on_request or None,
    }


def _reach(options: ReachOptions) -> dict[str, Any]:
    """Return the options of reach under the names of the settings, None where one was not given."""
    lists = ("stun", "turn", "advertise", "ice_address")
    given = {one.name: getattr(options, one.name) for one in fields(options) if one.name not in lists}
    named = {name.replace("ice_address", "ice_addresses"): getattr(options, name) for name in lists}
    return {**given, **{name: tuple(values) if values else None for name, values in named.items()}}
