"""What an offer of a WebRTC peer has to be, before aiortc is given it."""

from __future__ import annotations

from aiortc.sdp import SessionDescription

from ..errors import InvalidSetting
from .codec import CODECS
from .limits import MOST_CANDIDATES

MOST_SECTIONS = 8


def without_candidates(sdp: str) -> str:
    """Return an offer without its ICE candidates, and without the line that says that there are no more."""
    lines = sdp.splitlines()  # as aiortc does it
    kept = [line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates"))]
    return "\r\n".join([*kept, ""])


def choose_codec(sdp: str) -> str:
    """Return the first codec of an offer's audio that the bridge speaks; raises `InvalidSetting` for an unfit offer."""
    try:
        description = SessionDescription.parse(sdp)
        audio = [media for media in description.media if media.kind == "audio"]
        candidates = sum(len(media.ice_candidates) for media in description.media)
        offered = [codec.mimeType.lower().removeprefix("audio/") for media in audio for codec in media.rtp.codecs]
    except Exception as error:  # aiortc's parser raises whatever a malformed line leads to
        raise InvalidSetting(f"expected an SDP offer, got what cannot be read ({type(error).__name__})") from error
    if len(audio) != 1 or len(description.media) > MOST_SECTIONS:
        raise InvalidSetting(f"expected one audio section in the offer, got {len(audio)}")
    if any(media.kind not in ("audio", "video") for media in description.media):
        raise InvalidSetting("expected no section but audio and video in the offer")
    if candidates > MOST_CANDIDATES:
        raise InvalidSetting(f"expected at most {MOST_CANDIDATES} candidates, got {candidates}")
    names = [codec.name for codec in CODECS.values() if codec.webrtc]
    known = [name for name in offered if name in names]
    if not known:
        raise InvalidSetting(f"expected one of {', '.join(names)} in the offer, got {', '.join(offered) or 'none'}")
    return known[0]
