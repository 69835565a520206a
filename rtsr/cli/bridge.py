"""`rtsr bridge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InvalidSetting, MissingDependency
from . import app


@app.command()
def bridge(
    listen: Annotated[str | None, typer.Option(help="HOST:PORT of the page and of the API; 127.0.0.1:8443.")] = None,
    tls: Annotated[
        tuple[Path, Path] | None, typer.Option("--tls", metavar="CERT KEY", help="Serve https with these PEM files.")
    ] = None,
    token: Annotated[
        list[str] | None,
        typer.Option(
            envvar="RTSR_BRIDGE_TOKENS",
            help="A bearer token that requests have to bear; may be repeated. Other users see it in ps: better give "
            "--token-file, or the variable, which may hold several with spaces between.",
        ),
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="A file with such tokens, one a line.")] = None,
    allow_plain_http: Annotated[
        bool, typer.Option("--allow-plain-http", help="Take tokens from other machines without TLS.")
    ] = False,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address or network of a reverse proxy whose X-Forwarded-Proto and -Host are believed."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A shipped model's name or a manifest's path.")] = None,
    backend: Annotated[str | None, typer.Option(help="auto, native, ort, eager, null; on a GPU graph.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with a [bridge] table; options override it.")] = None,
    calls: Annotated[int | None, typer.Option(help="At most so many at once; measured if not given.")] = None,
    rtp: Annotated[str | None, typer.Option(help="HOST:PORT: join a plain RTP stream to a room.")] = None,
    rtp_source: Annotated[
        list[str] | None, typer.Option(help="An address or network that may send RTP; may be repeated.")
    ] = None,
    room: Annotated[str | None, typer.Option(help="The room that it joins.")] = None,
    codec: Annotated[str | None, typer.Option(help="Of the RTP stream: pcmu, pcma, g722, opus, l16 or l16-8k.")] = None,
) -> None:
    """Carry calls between browsers, WebRTC programs and telephones, each voice enhanced on the way.

    Open the page it serves, or use POST /rooms/ROOM/offer, WHIP at /whip/ROOM and WHEP at /whep/ROOM. SIGTERM lets
    calls end; SIGINT ends them.

    Examples:

        rtsr bridge                                               # then open http://127.0.0.1:8443

        rtsr bridge --listen 0.0.0.0:8443 --tls cert.pem key.pem --token-file tokens

        rtsr bridge --rtp 127.0.0.1:4000 --room desk --codec pcmu # a telephone leg in room "desk"
    """
    try:
        from ..bridge.config import make_settings
        from ..bridge.log import to_stderr
        from ..bridge.service import BridgeService
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "aiortc", "webrtc", "rtsr bridge") from error
    given = {
        **{"listen": listen, "model": model, "backend": backend, "calls": calls},
        **{"rtp": rtp, "room": room, "codec": codec, "tokens": tuple(token) if token else None},
        "rtp_sources": tuple(rtp_source) if rtp_source else None,
        **{"token_file": str(token_file) if token_file else None, "allow_plain_http": allow_plain_http or None},
        **{"trusted_proxies": tuple(trusted_proxy) if trusted_proxy else None},
        **{"tls_cert": str(tls[0]) if tls else None, "tls_key": str(tls[1]) if tls else None},
    }
    settings = make_settings(config, given)
    if settings.rtp is None and (room or codec or rtp_source):
        reason = "--room, --codec and --rtp-source: expected --rtp HOST:PORT, the telephone leg that they are about"
        raise InvalidSetting(reason)
    to_stderr()
    BridgeService(settings).run()
