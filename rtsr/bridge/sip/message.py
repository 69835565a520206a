"""SIP messages as bytes (RFC 3261, section 7): read and written. Nothing that is read is trusted to be well formed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .fields import TOKEN, NameAddress, Uri, Via, split

LONGEST = 16_384  # bytes of a message, its body included
MOST_HEADERS = 128
MOST_SEQUENCE = 1 << 31  # CSeq has to be less (RFC 3261, section 8.1.1.5)
VERSION = "SIP/2.0"
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
COMPACT = {
    **{"i": "call-id", "m": "contact", "e": "content-encoding", "l": "content-length", "c": "content-type"},
    **{"f": "from", "s": "subject", "k": "supported", "t": "to", "v": "via", "x": "session-expires"},
}
SPELLED = {"call-id": "Call-ID", "cseq": "CSeq", "www-authenticate": "WWW-Authenticate", "min-se": "Min-SE"}
REASONS = {
    **{100: "Trying", 180: "Ringing", 200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden"},
    **{404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 415: "Unsupported Media Type"},
    **{420: "Bad Extension", 422: "Session Interval Too Small", 480: "Temporarily Unavailable"},
    **{481: "Call/Transaction Does Not Exist", 483: "Too Many Hops", 487: "Request Terminated"},
    **{488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented"},
    **{503: "Service Unavailable", 505: "Version Not Supported"},
}

Headers = list[tuple[str, str]]  # names in lower case


@dataclass(frozen=True, slots=True)
class Message:
    """What requests and responses have in common. Properties raise `ValueError` where `parse` has not been."""

    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def get(self, name: str) -> str:
        """Return the first header of a name, or an empty text."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        """Return all values of a header that may have several, separated by commas or not."""
        return [value for key, text in self.headers if key == name for value in split(text, ",")]

    def names(self, name: str) -> set[str]:
        """Return the values of a header that lists tokens."""
        return {value.partition(";")[0].strip().lower() for value in self.all(name)}

    @property
    def via(self) -> Via:
        """The topmost Via."""
        return Via.read((self.all("via") or [""])[0])

    @property
    def sender(self) -> NameAddress:
        """From."""
        return NameAddress.read(self.get("from"))

    @property
    def recipient(self) -> NameAddress:
        """To."""
        return NameAddress.read(self.get("to"))

    @property
    def call_id(self) -> str:
        """Call-ID."""
        return self.get("call-id")

    @property
    def contact(self) -> NameAddress | None:
        """The first Contact that is a SIP URI, or None."""
        for value in self.all("contact"):
            if value != "*":
                return NameAddress.read(value)
        return None

    @property
    def sequence(self) -> tuple[int, str]:
        """CSeq: a number and a method."""
        number, _, method = self.get("cseq").strip().partition(" ")
        if not number.isascii() or not number.isdecimal() or len(number) > 10 or int(number) >= MOST_SEQUENCE:
            raise ValueError("CSeq")
        if not TOKEN.fullmatch(method.strip()):
            raise ValueError("CSeq")
        return int(number), method.strip()

    def check(self) -> None:
        """Raise `ValueError` for what lacks a header that each message has, or has it malformed."""
        _ = self.via, self.recipient, self.sequence  # each raises where it is malformed
        if not self.call_id or len(self.call_id) > 256:
            raise ValueError("Call-ID")
        for name in ("contact", "route", "record-route"):
            for value in self.all(name):
                if value != "*":
                    NameAddress.read(value)
        if not self.sender.tag:
            raise ValueError("From without a tag")

    def _start(self) -> str:
        raise NotImplementedError

    def write(self) -> bytes:
        """Return it as bytes."""
        lines = [self._start()]
        lines += [f"{SPELLED.get(name) or name.title()}: {value}" for name, value in self.headers]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + self.body


@dataclass(frozen=True, slots=True)
class Request(Message):
    """A request."""

    method: str = ""
    uri: Uri = field(default_factory=lambda: Uri("sip", "", "invalid"))

    def _start(self) -> str:
        return f"{self.method} {self.uri} {VERSION}"

    def with_headers(self, headers: Iterable[tuple[str, str]]) -> Request:
        """Return it with other headers."""
        return replace(self, headers=list(headers))


@dataclass(frozen=True, slots=True)
class Response(Message):
    """A response."""

    status: int = 0
    reason: str = ""

    @property
    def is_final(self) -> bool:
        """Whether no other follows it."""
        return self.status >= 200

    def _start(self) -> str:
        return f"{VERSION} {self.status} {self.reason}"


def answer(
    request: Request, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", *, tag: str = ""
) -> Response:
    """Return a response to a request (RFC 3261, section 8.2.6); `tag` goes to To where that has none."""
    kept: Headers = [(name, value) for name, value in request.headers if name in ("via", "from", "call-id", "cseq")]
    to = request.get("to")
    if tag and not request.recipient.tag:
        to += f";tag={tag}"
    kept.append(("to", to))
    if body:
        kept.append(("content-type", "application/sdp"))
    return Response([*kept, *headers], body, status, REASONS[status])


def received_from(request: Request, peer: tuple[str, int]) -> Request:
    """Return a request with where it came from noted in its topmost Via (section 18.2.1; RFC 3581)."""
    via, place = request.via, next(i for i, (name, _) in enumerate(request.headers) if name == "via")
    if via.host == peer[0] and "rport" not in via.params:
        return request
    noted = dict(via.params) | {"received": peer[0]} | ({"rport": str(peer[1])} if "rport" in via.params else {})
    below = split(request.headers[place][1], ",")[1:]
    value = ", ".join([str(replace(via, params=noted)), *below])
    return request.with_headers([*request.headers[:place], ("via", value), *request.headers[place + 1 :]])


def length_of(head: bytes) -> int:
    """Return the Content-Length of a message whose head is given, 0 without; raises `ValueError`."""
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() in ("content-length", "l"):
            value = value.strip()
            if not value.isascii() or not value.isdecimal() or len(value) > 6:
                raise ValueError("Content-Length")
            return int(value)
    return 0


def parse(data: bytes) -> Request | Response | None:
    """Return a message, its headers checked; None for anything else."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator or len(data) > LONGEST:
        return None
    try:
        start, *lines = re.sub(r"\r\n[ \t]+", " ", head.decode("latin-1")).split("\r\n")
        if len(lines) > MOST_HEADERS or any(map(CONTROL.search, (start, *lines))):
            return None
        headers = [_header(line) for line in lines]
        length = length_of(head) if any(name == "content-length" for name, _ in headers) else len(body)
        if length > len(body):
            return None
        kept = [header for header in headers if header[0] != "content-length"]
        message = _typed(start, kept, body[:length])
        message.check()
        return message
    except ValueError:
        return None


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name = name.strip().lower()
    if not colon or not TOKEN.fullmatch(name):
        raise ValueError("header")
    return COMPACT.get(name, name), value.strip()


def _typed(start: str, headers: Headers, body: bytes) -> Request | Response:
    first, _, rest = start.partition(" ")
    if first.upper() == VERSION:
        status, _, reason = rest.partition(" ")
        if not re.fullmatch(r"[1-6]\d\d", status, re.A):
            raise ValueError("status")
        return Response(headers, body, int(status), reason)
    uri, _, version = rest.partition(" ")
    if version.upper() != VERSION or not TOKEN.fullmatch(first):
        raise ValueError("request line")
    request = Request(headers, body, first, Uri.read(uri))
    if request.sequence[1] != first:
        raise ValueError("CSeq of another method")
    return request
