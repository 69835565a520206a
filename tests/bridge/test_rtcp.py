"""Reports against aiortc's reader and writer, and the figures of RFC 3550's algorithms."""

from __future__ import annotations

import random

import pytest
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpSenderInfo, RtcpSrPacket

from rtsr.bridge.rtcp import Reception, Reports, parse_report

OURS, THEIRS = 11, 22


class Bench:
    """Two ends whose clocks are one, and stand still unless they are moved."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.ours = self.end(OURS)
        self.theirs = self.end(THEIRS)

    def end(self, source: int) -> Reports:
        return Reports(source, Reception(8_000), lambda: self.now_s, lambda: 1e9 + self.now_s)


def hear(reception: Reception, numbers: list[int], *, late_s: float = 0.0) -> None:
    for number in numbers:
        reception.hear(number % 65_536, number * 160 % 2**32, number * 0.02 + late_s * (number % 2), audio=True)


def test_aiortc_reads_what_we_write():
    bench = Bench()
    hear(bench.ours.reception, [n for n in range(65_530, 65_630) if n % 10])
    bench.ours.note_sent(1_600, b"x" * 160)
    sender, names, bye = RtcpPacket.parse(bench.ours.write(THEIRS, leaves=True))
    assert (sender.ssrc, bye.sources) == (OURS, [OURS])
    info = sender.sender_info
    assert (info.packet_count, info.octet_count, info.rtp_timestamp) == (1, 160, 1_600)
    assert info.ntp_timestamp >> 32 == 2_208_988_800 + 1_000_000_050
    (block,) = sender.reports
    assert (block.ssrc, block.packets_lost, block.highest_sequence) == (THEIRS, 9, 65_629)
    assert block.fraction_lost == 256 * 9 // 99
    assert names.chunks[0].ssrc == OURS
    (first, *_) = RtcpPacket.parse(bench.end(7).write(THEIRS))
    assert isinstance(first, RtcpRrPacket), "who has sent nothing sends a receiver report"


def test_what_aiortc_writes_is_read():
    block = RtcpReceiverInfo(
        ssrc=OURS, fraction_lost=64, packets_lost=-3, highest_sequence=70_000, jitter=80, lsr=5, dlsr=65_536
    )
    info = RtcpSenderInfo(ntp_timestamp=0x1_2345_6789, rtp_timestamp=7, packet_count=1, octet_count=2)
    data = bytes(RtcpSrPacket(THEIRS, info, [block])) + bytes(RtcpByePacket([THEIRS]))
    report = parse_report(data)
    assert (report.source, report.leaves, report.sent) == (THEIRS, True, 0x1_2345)
    (found,) = report.blocks
    assert found == (OURS, 0.25, -3, 70_000, 80, 5, 1.0)


@pytest.mark.parametrize("wraps_in_s", [1_000.0, 1.0])
def test_the_round_trip_is_measured_from_the_echo_of_our_own_reports_and_smoothed(wraps_in_s):
    """Also where the middle 32 bits of the NTP time begin anew, every 18 hours."""
    bench = Bench()
    bench.now_s += -wraps_in_s - (2_208_988_800 + 1e9 + bench.now_s) % 65_536
    for back_s, smoothed_ms in ((0.05, 80), (0.13, 90)):
        bench.ours.note_sent(0, b"")
        ours = bench.ours.write(THEIRS)
        bench.now_s += 0.03  # on its way
        bench.theirs.take(parse_report(ours))
        bench.now_s += 2.0  # they keep it
        answer = bench.theirs.write(OURS)
        bench.now_s += back_s
        bench.ours.take(parse_report(answer))
        assert bench.ours.round_trip_ms == pytest.approx(smoothed_ms, abs=0.1)
    assert bench.ours.stats()["remote_lost"] == 0


def test_an_echo_of_what_we_never_sent_is_no_round_trip():
    bench = Bench()
    for last in (0, 5, 0xFFFF_FFFF):
        block = RtcpReceiverInfo(
            ssrc=OURS, fraction_lost=0, packets_lost=0, highest_sequence=0, jitter=0, lsr=last, dlsr=0
        )
        bench.ours.take(parse_report(bytes(RtcpRrPacket(THEIRS, [block]))))
    assert bench.ours.round_trip_ms is None


def test_even_packets_have_no_jitter_and_late_ones_have():
    even, uneven = Reception(8_000), Reception(8_000)
    hear(even, list(range(200)))
    hear(uneven, list(range(200)), late_s=0.01)
    assert even.jitter_ms == pytest.approx(0, abs=0.01)
    assert uneven.jitter_ms == pytest.approx(10, abs=0.001), "every change of the transit time is 10 ms"


def test_loss_counts_since_the_last_report_and_altogether():
    bench = Bench()
    reception = bench.ours.reception
    hear(reception, [n for n in range(100) if n % 4])
    assert parse_report(bench.ours.write(THEIRS)).blocks[0].fraction_lost == pytest.approx(0.25, abs=0.02)
    hear(reception, list(range(100, 200)))
    block = parse_report(bench.ours.write(THEIRS)).blocks[0]
    assert (block.fraction_lost, block.lost) == (0, 24)


def test_any_bytes_are_read_or_refused_and_nothing_grows():
    bench, rng = Bench(), random.Random(2)
    for _ in range(20_000):
        body = rng.randbytes(rng.randrange(0, 60, 4))
        data = bytes([0x80 | rng.randrange(32), rng.choice([200, 201])]) + (len(body) // 4).to_bytes(2) + body
        report = parse_report(data)
        if report:
            bench.ours.take(report)
            bench.ours.write(report.source)
    assert len(bench.ours._told) <= 8
