"""Digest authentication (RFC 3261, section 22; RFC 7616; RFC 8760): of callers, and of us at others' servers."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from .fields import quoted, split, unquoted
from .message import Request, Response

HASHES = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}  # the better one first
NONCE_S = 300.0  # for which a nonce may be used
TOKENS = ("algorithm", "nc", "stale")  # that are not quoted; qop neither, in credentials
MOST_COUNTS = 1_024  # nonces whose count is remembered


def params_of(text: str) -> dict[str, str]:
    """Return the parameters of a challenge or of credentials; none where it is no Digest."""
    kind, _, rest = text.strip().partition(" ")
    if kind.lower() != "digest":
        return {}
    pairs = (part.partition("=") for part in split(rest, ","))
    return {name.strip().lower(): unquoted(value.strip()) for name, _, value in pairs}


def proof(password: str, method: str, given: Mapping[str, str]) -> str:
    """Return the `response` that belongs to other parameters, whose algorithm is one of `HASHES`."""
    make = HASHES[given.get("algorithm", "MD5").upper()]

    def digest(text: str) -> str:
        return make(text.encode("latin-1", "replace")).hexdigest()

    secret = digest(f"{given.get('username', '')}:{given.get('realm', '')}:{password}")
    asked = digest(f"{method}:{given.get('uri', '')}")
    middle = given.get("nonce", "")
    if "qop" in given:
        middle += f":{given.get('nc', '')}:{given.get('cnonce', '')}:{given['qop']}"
    return digest(f"{secret}:{middle}:{asked}")


class Authenticator:
    """Challenges callers, and checks what they answer. It keeps no state of who was only challenged."""

    def __init__(
        self,
        realm: str,
        accounts: Mapping[str, str],
        algorithms: Sequence[str] = tuple(HASHES),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.realm, self._algorithms = realm, algorithms
        self._accounts, self._clock, self._key = dict(accounts), clock, secrets.token_bytes(32)
        self._counts: dict[str, int] = {}  # the highest count of a nonce that was accepted

    def challenges(self, *, stale: bool = False) -> list[tuple[str, str]]:
        """Return the headers of a 401 (RFC 8760: one of each algorithm)."""
        nonce = self._nonce(round(self._clock()))
        end = ", stale=true" if stale else ""
        return [
            (
                "www-authenticate",
                f'Digest realm={quoted(self.realm)}, nonce="{nonce}", algorithm={name}, qop="auth"{end}',
            )
            for name in self._algorithms
        ]

    def _nonce(self, at_s: int) -> str:
        return f"{at_s:x}.{hmac.new(self._key, str(at_s).encode(), 'sha256').hexdigest()[:32]}"

    def _is_fresh(self, nonce: str) -> bool:
        at = nonce.partition(".")[0]
        if not re.fullmatch(r"[0-9a-f]{1,12}", at) or not hmac.compare_digest(self._nonce(int(at, 16)), nonce):
            return False
        return self._clock() - int(at, 16) < NONCE_S

    def user_of(self, request: Request) -> tuple[str | None, bool]:
        """Return whose credentials a request carries, or None and whether they only came too late (stale)."""
        for value in (text for name, text in request.headers if name == "authorization"):
            given = params_of(value)
            if given.get("realm") != self.realm or given.get("qop") != "auth" or not given.get("cnonce"):
                continue
            if given.get("algorithm", "MD5").upper() not in self._algorithms:
                continue
            password = self._accounts.get(given.get("username", ""))
            right = proof(password or secrets.token_hex(), request.method, given)
            fits = hmac.compare_digest(right.encode(), given.get("response", "").encode("latin-1", "replace"))
            if not fits or password is None:
                continue
            nonce, count = given.get("nonce", ""), given.get("nc", "")
            if not self._is_fresh(nonce) or not self._counts_up(nonce, count):
                return None, True
            return given["username"], False
        return None, False

    def _counts_up(self, nonce: str, count: str) -> bool:
        """Whether credentials were not seen before: their count grows with each request (RFC 7616, section 3.4)."""
        if not re.fullmatch(r"[0-9a-fA-F]{8}", count) or int(count, 16) <= self._counts.get(nonce, 0):
            return False
        self._counts.pop(nonce, None)
        self._counts[nonce] = int(count, 16)
        if len(self._counts) > MOST_COUNTS:
            del self._counts[next(iter(self._counts))]
        return True


def credentials(response: Response, method: str, uri: str, username: str, password: str) -> tuple[str, str] | None:
    """Return the header that answers a 401 or 407, or None where none of its challenges can be answered."""
    asked, name = ("www-authenticate", "authorization"), "proxy-authenticate"
    header, reply = asked if response.status == 401 else (name, "proxy-authorization")
    given = [params_of(text) for key, text in response.headers if key == header]
    for algorithm in HASHES:
        for challenge in given:
            if challenge.get("algorithm", "MD5").upper() != algorithm or not challenge.get("nonce"):
                continue
            answer = {
                "username": username,
                "realm": challenge.get("realm", ""),
                "nonce": challenge["nonce"],
                "uri": uri,
            }
            if "algorithm" in challenge:
                answer["algorithm"] = challenge["algorithm"]
            if offered := challenge.get("qop"):
                if "auth" not in {one.strip().lower() for one in offered.split(",")}:
                    continue
                answer |= {"qop": "auth", "nc": "00000001", "cnonce": secrets.token_hex(8)}
            answer["response"] = proof(password, method, answer)
            if "opaque" in challenge:
                answer["opaque"] = challenge["opaque"]
            bare = (*TOKENS, "qop")
            pairs = (f"{key}={value if key in bare else quoted(value)}" for key, value in answer.items())
            return reply, "Digest " + ", ".join(pairs)
    return None
