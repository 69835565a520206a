"""Every codec there and back, and against FFmpeg."""

from __future__ import annotations

import av
import numpy as np
import pytest

from rtsr.bridge.codec import CODECS, LAWS, OPUS, PCMA, PCMU, make_decoder, make_encoder
from rtsr.errors import InvalidAudio, UnknownName
from rtsr.speech.g711 import encode

FFMPEG = {PCMU: "pcm_mulaw", PCMA: "pcm_alaw"}


@pytest.mark.parametrize("name", FFMPEG)
def test_g711_decodes_every_code_as_ffmpeg_does(name):
    other = av.CodecContext.create(FFMPEG[name], "r")
    other.format, other.layout, other.sample_rate = "s16", "mono", 8000
    codes = bytes(range(256))
    expected = other.decode(av.Packet(codes))[0].to_ndarray().reshape(-1)
    np.testing.assert_array_equal(make_decoder(name).decode(codes) * 32_768, expected)


DECISIONS = {  # (decision value, level below it, level from it on) of tables 1a and 2a, in 13 and 14 bits
    PCMA: [(2, 1, 3), (64, 63, 66), (128, 126, 132), (1024, 1008, 1056), (2048, 2016, 2112), (3968, 3904, 4032)],
    PCMU: [(1, 0, 2), (31, 30, 33), (95, 93, 99), (223, 219, 231), (4063, 3999, 4191), (7903, 7775, 8031)],
}


@pytest.mark.parametrize(("name", "bits"), [(PCMA, 13), (PCMU, 14)])
def test_g711_decides_where_the_recommendation_does(name, bits):
    """Not where two levels are as near: between two segments the decision value lies nearer to the lower level."""
    decoder, law, one = make_decoder(name), LAWS[name], 1 << (16 - bits)
    for value, below, above in DECISIONS[name]:
        samples = np.array([value * one - 1, value * one], np.float32) / 32_768
        found = decoder.decode(encode(samples, law).tobytes()) * 32_768 / one
        np.testing.assert_array_equal(found, [below, above])


@pytest.mark.parametrize("name", FFMPEG)
def test_a_codes_level_gets_that_code_again(name):
    levels = make_decoder(name).decode(bytes(range(256)))
    again = encode(levels, LAWS[name])
    np.testing.assert_array_equal(make_decoder(name).decode(again.tobytes()), levels)
    assert len(set(again.tolist())) == (256 if name == PCMA else 255)  # mu-law has two zeros


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("packet_ms", [10, 20])
def test_a_tone_comes_back(name, packet_ms):
    encoder, decoder = make_encoder(name, packet_ms), make_decoder(name)
    block = 48 * packet_ms
    sound = (0.3 * np.sin(2 * np.pi * 440 * np.arange(100 * block) / 48_000)).astype(np.float32)
    packets = [encoder.encode(sound[n * block : (n + 1) * block]) for n in range(100)]
    blocks = [decoder.decode(packet) for packet in packets if packet]
    assert {len(b) for b in blocks} == {CODECS[name].rate * packet_ms // 1000}
    end = np.concatenate(blocks)[-CODECS[name].rate // 2 :]
    t = np.arange(len(end)) / CODECS[name].rate
    amplitude = 2 * abs(np.mean(end * np.exp(-2j * np.pi * 440 * t)))
    assert amplitude == pytest.approx(0.3, abs=0.02)


def test_opus_packets_are_mono_and_bear_a_copy_of_the_one_before():
    """The configuration number and the stereo bit of RFC 6716, section 3.1; SILK and hybrid packets can have copies."""
    encoder, rng = make_encoder(OPUS, 20), np.random.default_rng(1)
    t = np.arange(48_000) / 48_000
    voice = 0.2 * np.sign(np.sin(2 * np.pi * 130 * t)) * (1 + np.sin(2 * np.pi * 4 * t)) / 2
    voice += 0.02 * rng.standard_normal(len(t))
    packets = [encoder.encode(voice[n * 960 : (n + 1) * 960].astype(np.float32)) for n in range(50)]
    packets = [packet for packet in packets if packet]
    assert all(not packet[0] & 0x04 for packet in packets), "stereo"
    assert all(packet[0] >> 3 < 16 for packet in packets[5:]), "CELT alone has no in-band FEC"


def test_opus_packets_are_those_of_ffmpeg():
    """With the same settings: libopus is called without FFmpeg for the time that takes, and for nothing else."""
    other = av.CodecContext.create("libopus", "w")
    other.layout, other.sample_rate, other.format, other.bit_rate = "mono", 48_000, "flt", 48_000
    other.options = {"application": "voip", "fec": "1", "packet_loss": "10", "compression_level": "5"}
    encoder, rng = make_encoder(OPUS, 20), np.random.default_rng(2)
    for n in range(20):
        block = (0.1 * rng.standard_normal(960)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(block[None], "flt", "mono")
        frame.sample_rate, frame.pts = 48_000, 960 * n
        assert [encoder.encode(block)] == [bytes(packet) for packet in other.encode(frame)]


def test_a_block_that_opus_does_not_take_is_refused():
    with pytest.raises(InvalidAudio, match="17 samples"):
        make_encoder(OPUS, 20).encode(np.zeros(17, np.float32))


@pytest.mark.parametrize("payload", [b"\xff" * 20, b"\x03", b"\xff\xff\xff\xff", bytes(1_300)])
def test_what_is_no_opus_is_none_or_sound(payload):
    found = make_decoder(OPUS).decode(payload)
    assert found is None or np.isfinite(found).all()


def test_an_unknown_codec_is_refused():
    with pytest.raises(UnknownName, match="pcmu"):
        make_decoder("pcmx")
