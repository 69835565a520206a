"""The structured parts of SIP headers: URIs, addresses, Via, parameters (RFC 3261, sections 19, 20 and 25).

Readers raise `ValueError` for what is none of them. Text is what `message.parse` gives: no line breaks in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

DEFAULT_PORT, TLS_PORT = 5060, 5061
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
URI = re.compile(r"(sips?):(?:([^@<>\s]*)@)?(\[[0-9A-Fa-f:.]+\]|[^\[\]:;?@,<>\s]+)(?::(\d{1,5}))?([;?]\S*)?", re.I)
TEL = re.compile(r"tel:([+0-9A-Za-z*#().-]+)(;\S*)?", re.I)
VIA = re.compile(
    r"SIP\s*/\s*2\.0\s*/\s*([A-Za-z-]+)\s+(\[[0-9A-Fa-f:.]+\]|[^\[\]:;?@,<>\s]+)\s*(?::\s*(\d{1,5}))?\s*(;.*)?", re.I
)
TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")

Params = dict[str, str | None]


def split(text: str, at: str) -> list[str]:
    """Split at a character that is neither in quotes nor in angle brackets; parts are stripped, empty ones left out."""
    parts, start, quoted, depth, escaped = [], 0, False, 0, False
    for place, letter in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = letter == "\\", letter != '"'
        elif letter == '"':
            quoted = True
        elif letter in "<>":
            depth += 1 if letter == "<" else -1
        elif letter == at and depth <= 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def params_of(text: str) -> Params:
    """Read `;name=value;name`: names in lower case, None where there is no value."""
    found: Params = {}
    for part in split(text, ";"):
        name, equals, value = part.partition("=")
        found[name.strip().lower()] = value.strip() if equals else None
    return found


def write_params(params: Params) -> str:
    """Return parameters as they stand in a header."""
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params.items())


def unquoted(text: str) -> str:
    """Return a token or the content of a quoted string."""
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if QUOTED.fullmatch(text) else text


def quoted(text: str) -> str:
    """Return a text as a quoted string."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def port_of(text: str | None) -> int | None:
    """Return a port, or None where none is given."""
    if text is None:
        return None
    if not 0 < int(text) < 1 << 16:
        raise ValueError("port")
    return int(text)


@dataclass(frozen=True, slots=True)
class Uri:
    """A SIP or tel URI; of a tel URI the number is the user and there is no host."""

    scheme: str
    user: str
    host: str  # an IPv6 address in brackets
    port: int | None = None
    params: Params = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Uri:
        """Read a URI; headers after a question mark are left out."""
        if found := URI.fullmatch(text):
            scheme, user, host, port, rest = found.groups()
            params = params_of((rest or "").partition("?")[0])
            return cls(scheme.lower(), user or "", host, port_of(port), params)
        if found := TEL.fullmatch(text):
            return cls("tel", found[1], "", None, params_of(found[2] or ""))
        raise ValueError("URI")

    @property
    def number(self) -> str:
        """The user without a password and without parameters."""
        return self.user.partition(":")[0].partition(";")[0]

    @property
    def transport(self) -> str:
        """Which transport it asks for."""
        return "tls" if self.scheme == "sips" else (self.params.get("transport") or "udp").lower()

    @property
    def place(self) -> tuple[str, int]:
        """Host without brackets, and port."""
        return self.host.strip("[]"), self.port or (TLS_PORT if self.transport == "tls" else DEFAULT_PORT)

    def __str__(self) -> str:
        if self.scheme == "tel":
            return f"tel:{self.user}{write_params(self.params)}"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}:{user}{self.host}{port}{write_params(self.params)}"


@dataclass(frozen=True, slots=True)
class NameAddress:
    """What From, To, Contact and Route hold: a URI, perhaps a name, and parameters."""

    uri: Uri
    name: str = ""
    params: Params = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> NameAddress:
        """Read `"Name" <URI>;params`, or a URI alone, whose parameters are then the header's."""
        text = text.strip()
        name = QUOTED.match(text)
        rest = text[name.end() :].lstrip() if name else text
        before, bracket, after = rest.partition("<")
        if not bracket:
            if name:
                raise ValueError("address")
            uri, semicolon, more = text.partition(";")
            return cls(Uri.read(uri.strip()), "", params_of(semicolon + more))
        uri, closing, more = after.partition(">")
        if not closing or (name and before.strip()):
            raise ValueError("address")
        return cls(Uri.read(uri.strip()), unquoted(name[0]) if name else before.strip(), params_of(more))

    @property
    def tag(self) -> str:
        """The tag, or an empty text."""
        return self.params.get("tag") or ""

    def __str__(self) -> str:
        return f"{quoted(self.name) + ' ' if self.name else ''}<{self.uri}>{write_params(self.params)}"


@dataclass(frozen=True, slots=True)
class Via:
    """Where a message has come from, and where its responses go."""

    transport: str  # in lower case
    host: str
    port: int | None
    params: Params

    @classmethod
    def read(cls, text: str) -> Via:
        """Read one value of a Via header; it has to have a branch."""
        found = VIA.fullmatch(text)
        if not found:
            raise ValueError("Via")
        params = params_of(found[4] or "")
        if not params.get("branch"):
            raise ValueError("Via without a branch")
        return cls(found[1].lower(), found[2], port_of(found[3]), params)

    @property
    def branch(self) -> str:
        """What names the transaction."""
        return self.params["branch"] or ""

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f"SIP/2.0/{self.transport.upper()} {self.host}{port}{write_params(self.params)}"
