"""ICE restarts as requests ask for them, by an SDP fragment (WHIP, WHEP) or a whole offer. The event loop's."""

from __future__ import annotations

import re

from aiortc.sdp import SessionDescription

from ..errors import InvalidSetting
from .call import Call, new_tag
from .calls import Calls
from .log import log_event
from .restart import Restart

MOST_CANDIDATES = 32  # in one fragment


def names_another_user(call: Call, sdp: str) -> bool:
    """Whether an offer or a fragment begins an ICE restart: its user is not the one of before."""
    assert call.peer is not None
    found = re.search(r"^a=ice-ufrag:(\S+)", sdp, re.MULTILINE)
    return found is not None and found[1] != call.peer.remote_fragment


async def restart(calls: Calls, call: Call, sdp: str) -> str:
    """Begin a restart with the peer's credentials and candidates, and return our fragment.

    The call goes on over the new connection once it is there, and over the old one until then. Raises `InvalidSetting`,
    and `PoolFull` without a port.
    """
    assert call.peer is not None
    begun = await call.peer.restart(sdp)
    call.etag = new_tag()
    try:
        await add_candidates(call, sdp)
    finally:  # with those that there are; one that is not connected in time is over
        calls.start(_finish(call, begun, calls.settings.connect_s))
    return begun.fragment


async def _finish(call: Call, begun: Restart, limit_s: float) -> None:
    done = await begun.finish(limit_s)
    log_event("restarted" if done else "not-restarted", call=call.id, room=call.leg.room)


async def add_candidates(call: Call, sdp: str) -> None:
    """Add the candidates of a fragment or an offer; raises `InvalidSetting`."""
    assert call.peer is not None
    mid = None
    candidates = 0
    for line in sdp.splitlines():
        if line.startswith("m="):
            mid = None
        elif line.startswith("a=mid:"):
            mid = line.removeprefix("a=mid:").strip()
        elif line.startswith("a=candidate:"):
            candidates += 1
            if candidates > MOST_CANDIDATES:
                raise InvalidSetting(f"expected at most {MOST_CANDIDATES} candidates")
            await call.peer.add_candidate(line, mid)


async def answer_again(calls: Calls, call: Call, offer: str) -> str:
    """Answer an offer within a call, which changes nothing but ICE, and return the answer.

    Raises `InvalidSetting` for any other offer, and `PoolFull` without a port.
    """
    if call.peer is None:
        raise InvalidSetting("sdp: expected a call of a WebRTC peer")
    if not names_another_user(call, offer):
        raise InvalidSetting("sdp: expected an offer of an ICE restart, with another a=ice-ufrag than before")
    if _session_of(offer) != _session_of(call.peer.connection.remoteDescription.sdp):
        raise InvalidSetting("sdp: expected the sections and the fingerprint of the call's first offer")
    fragment = await restart(calls, call, offer)
    return with_ice_of(call.peer.connection.localDescription.sdp, fragment)


def _session_of(sdp: str) -> tuple[list[tuple[str, str]], set[str]]:
    """Return what an ICE restart may not change: the sections, and who may take part in DTLS."""
    try:
        media = SessionDescription.parse(sdp).media
        prints = {one.value.lower() for section in media for one in (section.dtls.fingerprints if section.dtls else ())}
        return [(section.kind, section.rtp.muxId) for section in media], prints
    except Exception as error:  # aiortc's parser raises whatever a malformed line leads to
        raise InvalidSetting(f"expected an SDP offer, got what cannot be read ({type(error).__name__})") from error


def with_ice_of(sdp: str, fragment: str) -> str:
    """Return a description with the ICE credentials and candidates of a fragment."""
    lines = fragment.splitlines()
    for name in ("a=ice-ufrag:", "a=ice-pwd:"):
        line = next(one for one in lines if one.startswith(name))
        sdp = re.sub(rf"{name}[^\r\n]*", lambda _, line=line: line, sdp)  # type: ignore[misc]
    candidates = "".join(f"{one}\r\n" for one in lines if one.startswith("a=candidate:"))
    return re.sub(r"(a=candidate:[^\r\n]*\r\n)+", lambda _: candidates, sdp)
