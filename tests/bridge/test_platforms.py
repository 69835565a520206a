"""Messages of media streams, as their platforms document them, and any others."""

from __future__ import annotations

import base64
import contextlib
import json
import random

import pytest

from rtsr.bridge.platforms import Audio, Clear, JsonStream, Key, Mark, RawStream, Start, Stop
from rtsr.errors import InvalidSetting

TWILIO = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "secret"},
    },
    "streamSid": "MZ1",
}
TELNYX = {
    "event": "start",
    "sequence_number": "1",
    "start": {
        "user_id": "u",
        "call_control_id": "v2",
        "media_format": {"encoding": "PCMA", "sample_rate": 8000, "channels": 1},
    },
    "stream_id": "32de0dea",
}


def read(stream: JsonStream | RawStream, message: object):
    return stream.read(json.dumps(message))


def test_twilio_and_telnyx_begin_a_stream_and_are_answered_by_its_id():
    twilio, telnyx = JsonStream(), JsonStream()
    assert read(twilio, {"event": "connected", "protocol": "Call", "version": "1.0.0"}) is None
    assert not twilio.began
    assert read(twilio, TWILIO) == Start("pcmu", {"token": "secret"})
    assert twilio.began
    assert read(telnyx, TELNYX) == Start("pcma", {})
    payload = base64.b64encode(b"ab").decode()
    assert json.loads(twilio.audio(b"ab")) == {"event": "media", "streamSid": "MZ1", "media": {"payload": payload}}
    assert json.loads(telnyx.mark("m"))["stream_id"] == "32de0dea"
    assert json.loads(twilio.mark("m")) == {"event": "mark", "streamSid": "MZ1", "mark": {"name": "m"}}


@pytest.mark.parametrize(
    ("message", "item"),
    [
        ({"event": "media", "media": {"track": "inbound", "timestamp": "40", "payload": "/w=="}}, Audio(b"\xff", 0.04)),
        ({"event": "media", "media": {"payload": "/w=="}}, Audio(b"\xff")),
        ({"event": "media", "media": {"track": "outbound", "payload": "/w=="}}, None),
        ({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "5"}}, Key("5")),
        ({"event": "mark", "mark": {"name": "end"}}, Mark("end")),
        ({"event": "clear"}, Clear()),
        ({"event": "stop", "stop": {}}, Stop()),
        ({"event": "mark", "mark": {"name": "x" * 1_000}}, None),
        ({"event": ["media"]}, None),
        ({}, None),
    ],
)
def test_a_message_of_json_is_read(message, item):
    assert read(JsonStream(), message) == item


@pytest.mark.parametrize(
    ("message", "item"),
    [
        (b"\x01\x00", Audio(b"\x01\x00")),
        ('{"event": "websocket:connected", "content-type": "audio/l16;rate=16000"}', None),
        ('{"event": "websocket:dtmf", "digit": "5"}', Key("5")),
        ('{"action": "clear"}', Clear()),
        ('{"action": "notify", "payload": "end"}', Mark("end")),
        ('{"event": "mark", "name": "end"}', Mark("end")),
        ('{"event": "stop"}', Stop()),
    ],
)
def test_a_raw_message_is_read(message, item):
    assert RawStream().read(message) == item


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"event": "media", "media": {}}',
        '{"event": "media", "media": {"payload": "!"}}',
        '{"event": "media", "media": {"payload": 7}}',
        '{"event": "start", "start": {"mediaFormat": {"encoding": "opus"}}}',
        '{"event": "start", "start": {"mediaFormat": {"encoding": 7}}}',
        '{"event": "start", "start": {"mediaFormat": []}}',
        '{"event": "start", "start": {"media_format": {"encoding": "L16", "sample_rate": 44100}}}',
        '{"event": "start", "start": {"media_format": {"encoding": "L16", "sample_rate": []}}}',
        "\x00\xff",
    ],
)
def test_a_message_that_cannot_be_is_refused(message):
    with pytest.raises(InvalidSetting):
        JsonStream().read(message)


def test_any_text_is_read_or_refused():
    rng, known = (
        random.Random(3),
        [json.dumps(TWILIO), json.dumps(TELNYX), '{"event": "media", "media": {"payload": "/w=="}}'],
    )
    for _ in range(5_000):
        text = list(rng.choice(known))
        for _ in range(rng.randrange(4)):
            text[rng.randrange(len(text))] = rng.choice('{}[]":,0aé\x00')
        for stream in (JsonStream(), RawStream()):
            with contextlib.suppress(InvalidSetting):
                stream.read("".join(text))
