"""Calls enhanced on the way: a WebRTC bridge. `service.py` is the one to open first.

`EnhancedTrack` is for programs that have an aiortc connection of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .track import EnhancedTrack

__all__ = ["EnhancedTrack"]


def __getattr__(name: str) -> Any:
    """Load aiortc only when the track is asked for."""
    if name == "EnhancedTrack":
        from .track import EnhancedTrack

        return EnhancedTrack
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
