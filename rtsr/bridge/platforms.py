"""The messages of media streams: Twilio's and Telnyx's JSON, and raw 16 bit samples as Vonage has them."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import InvalidSetting
from .codec import L16, L16_8K, PCMA, PCMU

LONGEST_NAME = 256  # of a mark or a stream
ENCODINGS = {"audio/x-mulaw": PCMU, "pcmu": PCMU, "audio/x-alaw": PCMA, "pcma": PCMA, "l16": L16, "audio/x-l16": L16}
RAW_RATES = {8_000: L16_8K, 16_000: L16}


class Start(NamedTuple):
    """A stream begins."""

    codec: str
    parameters: dict[str, Any]  # the user's own


class Audio(NamedTuple):
    """Audio, and its time in seconds by the sender's clock where that is given."""

    data: bytes
    at_s: float | None = None


class Key(NamedTuple):
    """A key was pressed."""

    name: object


class Mark(NamedTuple):
    """The sender asks to be told when its audio up to here has been played."""

    name: str


class Clear(NamedTuple):
    """What has not been played yet is not to be."""


class Stop(NamedTuple):
    """The stream ends."""


Item = Start | Audio | Key | Mark | Clear | Stop


def _object(message: str | bytes) -> dict[str, Any]:
    """Return the object that a message of JSON is; raises `InvalidSetting` for any other."""
    try:
        read = json.loads(message)
    except (ValueError, RecursionError):
        raise InvalidSetting("expected a message of JSON") from None
    if not isinstance(read, dict):
        raise InvalidSetting("expected an object of JSON")
    return read


@dataclass
class JsonStream:
    """Messages of Twilio Media Streams, or of Telnyx where the stream's id is called `stream_id`."""

    stream: str = ""
    id_key: str = "streamSid"
    began: bool = field(default=False, init=False)

    def read(self, message: str | bytes) -> Item | None:
        """Return what a message says, None where that is nothing to us; raises `InvalidSetting`."""
        read = _object(message)
        event, inner = read.get("event"), read.get(str(read.get("event")))
        inner = inner if isinstance(inner, dict) else {}
        if event == "start":
            return self._start(read, inner)
        if event == "media":
            return self._audio(inner)
        if event == "dtmf":
            return Key(inner.get("digit"))
        if event == "mark" and isinstance(inner.get("name"), str) and len(inner["name"]) <= LONGEST_NAME:
            return Mark(inner["name"])
        return Clear() if event == "clear" else Stop() if event == "stop" else None

    def _start(self, read: dict[str, Any], start: dict[str, Any]) -> Start:
        self.id_key = "stream_id" if "stream_id" in read or "stream_id" in start else "streamSid"
        stream = read.get(self.id_key, start.get(self.id_key, ""))
        self.stream = stream[:LONGEST_NAME] if isinstance(stream, str) else ""
        form = start.get("mediaFormat", start.get("media_format", {}))
        parameters = start.get("customParameters", start.get("custom_parameters", {}))
        encoding = form.get("encoding", "PCMU") if isinstance(form, dict) else None
        codec = ENCODINGS.get(encoding.lower()) if isinstance(encoding, str) else None
        if codec is None:
            raise InvalidSetting(f"expected an encoding among {', '.join(ENCODINGS)}")
        if codec == L16:
            rate = form.get("sampleRate", form.get("sample_rate", 16_000))
            codec = RAW_RATES.get(rate) if isinstance(rate, int) else None
        if codec is None:
            raise InvalidSetting("expected L16 at 8000 or 16000 Hz")
        self.began = True
        return Start(codec, parameters if isinstance(parameters, dict) else {})

    @staticmethod
    def _audio(media: dict[str, Any]) -> Audio | None:
        payload, stamp = media.get("payload"), media.get("timestamp")
        if media.get("track", "inbound") not in ("inbound", "inbound_track"):
            return None  # of the other direction, which we have sent ourselves
        if not isinstance(payload, str):
            raise InvalidSetting("expected a payload")
        try:
            data = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidSetting("expected a payload in base64") from None
        digits = str(stamp)
        return Audio(data, int(digits) / 1000 if digits.isdecimal() and len(digits) <= 12 else None)

    def audio(self, payload: bytes) -> str:
        """Return the message of a packet."""
        return self._write("media", {"payload": base64.b64encode(payload).decode()})

    def mark(self, name: str) -> str:
        """Return the message that says that a mark has been reached."""
        return self._write("mark", {"name": name})

    def _write(self, event: str, inner: dict[str, str]) -> str:
        return json.dumps({"event": event, self.id_key: self.stream, event: inner})


class RawStream:
    """16 bit samples, the lower byte first, in binary messages; text is JSON that asks for something."""

    @staticmethod
    def read(message: str | bytes) -> Item | None:
        """Return what a message says, None where that is nothing to us; raises `InvalidSetting`."""
        if isinstance(message, bytes):
            return Audio(message)
        read = _object(message)
        if read.get("event") == "websocket:dtmf":
            return Key(read.get("digit"))
        name = read.get("name", read.get("payload", ""))
        asked = read.get("action", read.get("event"))
        if asked in ("mark", "notify") and isinstance(name, str) and len(name) <= LONGEST_NAME:
            return Mark(name)
        return Clear() if asked == "clear" else Stop() if asked == "stop" else None

    @staticmethod
    def audio(payload: bytes) -> bytes:
        """Return the message of a packet."""
        return payload

    @staticmethod
    def mark(name: str) -> str:
        """Return the message that says that a mark has been reached."""
        return json.dumps({"event": "mark", "name": name})
