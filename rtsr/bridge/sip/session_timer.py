"""Session timers: a call whose peer has vanished ends (RFC 4028)."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import params_of
from .message import Message, Request
from .settings import LEAST_SESSION_S

EXPIRES, LEAST = "session-expires", "min-se"
MOST_SESSION_S = 86_400


@dataclass(frozen=True, slots=True)
class Interval:
    """How long a session lasts without being refreshed, and whether we refresh it."""

    seconds: int
    ours: bool

    @property
    def act_s(self) -> float:
        """When to act: to refresh it, or to end it (sections 7.2 and 10)."""
        return self.seconds / 2 if self.ours else self.seconds - min(32, self.seconds / 3)


class TooShort(Exception):
    """A peer asked for less than we take: 422."""


def _seconds(text: str) -> int | None:
    number = text.partition(";")[0].strip()
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else None


def taken(request: Request, most_s: int) -> tuple[Interval, list[tuple[str, str]]]:
    """Return what we answer to an INVITE or UPDATE, and its headers; raises `TooShort`."""
    asked, least = _seconds(request.get(EXPIRES)), _seconds(request.get(LEAST)) or 0
    knows = "timer" in request.names("supported")
    if asked is not None and asked < LEAST_SESSION_S:
        if knows:
            raise TooShort
        asked = LEAST_SESSION_S
    seconds = max(min(asked or most_s, most_s), min(least, MOST_SESSION_S))
    _, semicolon, rest = request.get(EXPIRES).partition(";")
    who = params_of(semicolon + rest).get("refresher")
    ours = who == "uas" or not knows
    require = [] if ours and not knows else [("require", "timer")]
    return Interval(seconds, ours), [(EXPIRES, f"{seconds};refresher={'uas' if ours else 'uac'}"), *require]


def asked(seconds: int) -> list[tuple[str, str]]:
    """Return the headers of our INVITE."""
    return [(EXPIRES, str(seconds)), (LEAST, str(LEAST_SESSION_S))]


def granted(response: Message, seconds: int) -> Interval:
    """Return what a 2xx to our request says; where it says nothing, we refresh alone."""
    value = response.get(EXPIRES)
    found = _seconds(value)
    if found is None:
        return Interval(seconds, ours=True)
    _, semicolon, rest = value.partition(";")
    ours = params_of(semicolon + rest).get("refresher") != "uas"
    return Interval(min(max(found, LEAST_SESSION_S), MOST_SESSION_S), ours)
