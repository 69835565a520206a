"""SRTP: keys from the signalling (SDES, RFC 4568); decryption with them or with those of DTLS. The event loop's."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from pylibsrtp import Error, Policy, Session

from ..errors import InvalidSetting

SUITES = {  # RFC 4568, section 6.2, and RFC 7714: name, profile of libsrtp, bytes of master key and salt
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AES_CM_128_HMAC_SHA1_32": (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    "AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
}
LONGEST_LINE = 512
MOST_SOURCES = 8  # that a telephone or a browser may have had before the oldest is forgotten


@dataclass(frozen=True, slots=True, repr=False)
class Crypto:
    """A suite and the master key of one direction."""

    suite: str
    key: bytes
    tag: str = "1"

    @classmethod
    def parse(cls, line: object) -> Crypto:
        """Read what follows "a=crypto:" in SDP: [TAG] SUITE inline:KEY; raises `InvalidSetting`.

        A lifetime (`|2^20`) is read over. A master key identifier (MKI), several keys and session parameters are
        refused.
        """
        expected = "crypto: expected [TAG] SUITE inline:KEY, "
        if not isinstance(line, str) or len(line) > LONGEST_LINE:
            raise InvalidSetting(expected + "as in a=crypto of SDP")
        words = line.split()
        tag = words.pop(0) if words and words[0].isdecimal() else "1"
        if len(words) != 2 or not words[1].startswith("inline:"):
            raise InvalidSetting(expected + "and no session parameters")
        suite, (key, *rest) = words[0], words[1].removeprefix("inline:").split("|")
        if suite not in SUITES:
            raise InvalidSetting(f"{expected}with SUITE one of {', '.join(SUITES)}")
        if any(":" in part for part in rest) or len(rest) > 1 or ";" in line:
            raise InvalidSetting(expected + "with one key and no MKI")
        try:
            found = base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidSetting(expected + "with KEY in base64") from None
        if len(found) != SUITES[suite][1]:
            raise InvalidSetting(f"{expected}with {SUITES[suite][1]} bytes of key and salt, got {len(found)}")
        return cls(suite, found, tag)

    def answer(self) -> Crypto:
        """Return a new key for the other direction."""
        return Crypto(self.suite, secrets.token_bytes(SUITES[self.suite][1]), self.tag)

    @property
    def line(self) -> str:
        """What follows "a=crypto:" in SDP."""
        return f"{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"


class Decryption:
    """Decrypts the packets of one peer, of which libsrtp keeps a stream for every source (SSRC) that they name.

    It keeps those of the last `MOST_SOURCES` sources, so that a peer with keys cannot make it grow.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sources: OrderedDict[int, None] = OrderedDict()  # the one that was heard last is the last

    def __call__(self, data: bytes, *, report: bool = False) -> bytes | None:
        """Return a packet decrypted; None for one that is not authentic, or came before."""
        try:
            plain = self._session.unprotect_rtcp(data) if report else self._session.unprotect(data)
        except (Error, ValueError):  # longer than a path carries
            return None
        source = int.from_bytes(plain[4:8] if report else plain[8:12])
        self._sources[source] = None
        self._sources.move_to_end(source)
        if len(self._sources) > MOST_SOURCES:
            self._session.remove_stream(self._sources.popitem(last=False)[0])
        return plain


class Srtp:
    """Encrypts with our key and decrypts with theirs: `protect` and `unprotect`."""

    def __init__(self, ours: Crypto, theirs: Crypto) -> None:
        self._out = Session(Policy(ours.key, Policy.SSRC_ANY_OUTBOUND, srtp_profile=SUITES[ours.suite][0]))
        self.unprotect = Decryption(
            Session(Policy(theirs.key, Policy.SSRC_ANY_INBOUND, srtp_profile=SUITES[theirs.suite][0]))
        )

    def protect(self, data: bytes, *, report: bool = False) -> bytes:
        """Return a packet encrypted."""
        return self._out.protect_rtcp(data) if report else self._out.protect(data)
