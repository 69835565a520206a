"""Who is the caller of an RTP port, on a scripted clock."""

from __future__ import annotations

from rtsr.bridge.config import networks
from rtsr.bridge.latch import CHANGE_S, MOST_CANDIDATES, Latch, RtpSource

A, B = RtpSource("192.0.2.1", 4_000, 7), RtpSource("192.0.2.2", 5_000, 8)


def called(**more) -> Latch:
    """A latch whose caller is A since second 0."""
    latch = Latch(**more)
    assert not latch.hear(A, 1, 0.0, sound=True)
    assert latch.hear(A, 2, 0.0, sound=True)
    return latch


def test_one_packet_makes_nobody_the_caller():
    latch = Latch()
    for number in (1, 3, 5, 4, 4):
        assert not latch.hear(A, number, 0.0, sound=True)
    assert latch.caller is None
    assert latch.hear(A, 5, 0.0, sound=True)
    assert latch.caller == A


def test_two_packets_in_sequence_may_end_the_numbers():
    latch = Latch()
    assert not latch.hear(A, 65_535, 0.0, sound=True)
    assert latch.hear(A, 0, 0.0, sound=True)


def test_packets_without_sound_make_nobody_the_caller():
    latch = Latch()
    assert not any(latch.hear(A, number, 0.0, sound=False) for number in range(9))


def test_nobody_takes_over_while_the_caller_lives():
    """By whatever is heard of it: sound, comfort noise, telephone events, RTCP."""
    latch, number = called(silent_s=8), 3
    for second in range(1, 100):
        now_s = float(second)
        if second % 6 == 0:
            assert latch.hear_report(A.host, A.source, now_s)
        if second % 13 == 0:
            latch.hear(A, 77, now_s, sound=False)
        number += 1
        assert not latch.hear(B, number, now_s, sound=True)
        assert not latch.is_silent(now_s)
    assert latch.caller == A


def test_the_same_source_elsewhere_and_another_source_there_are_not_the_caller():
    latch = called()
    for number in range(2, 6):
        assert not latch.hear(A._replace(port=4_001), number, 0.1, sound=True)
        assert not latch.hear(A._replace(source=9), number, 0.1, sound=True)
    assert not latch.hear_report(B.host, A.source, 0.1)
    assert not latch.hear_report(A.host, B.source, 0.1)


def test_a_telephone_may_change_its_source():
    latch, other = called(), A._replace(source=9)
    now_s = CHANGE_S + 0.01
    assert not latch.hear(other, 1, now_s, sound=True)
    assert latch.hear(other, 2, now_s, sound=True)
    assert latch.caller == other


def test_a_caller_that_is_silent_is_forgotten_and_the_next_one_is_heard():
    latch = called(silent_s=8)
    assert not latch.is_silent(8.0)
    assert latch.is_silent(8.1)
    latch.forget()
    assert not latch.hear(B, 1, 8.1, sound=True)
    assert latch.hear(B, 2, 8.1, sound=True)


def test_a_stream_that_was_hung_up_on_is_not_heard_until_it_was_silent():
    latch = called(silent_s=8)
    latch.refuse(0.0)
    assert not any(latch.hear(A, number, 0.02 * number, sound=True) for number in range(500))
    assert not latch.hear(B, 1, 10.0, sound=True)
    assert latch.hear(B, 2, 10.0, sound=True)
    latch.forget()
    assert not latch.hear(A, 1, 30.0, sound=True)
    assert latch.hear(A, 2, 30.0, sound=True)


def test_only_hosts_that_are_allowed_are_heard():
    latch = Latch(networks(("192.0.2.2", "2001:db8::/32"), "rtp_sources"))
    heard = ("192.0.2.2", "::ffff:192.0.2.2", "2001:db8::5")
    for host in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db9::1", "fe80::1%eth0", *heard):
        latch.forget()
        came = [latch.hear(RtpSource(host, 9, 9), number, 0.0, sound=True) for number in range(2)]
        assert came == [False, host in heard]


def test_candidates_are_bounded_and_those_who_go_on_get_in():
    latch = Latch()
    for number in range(10_000):
        latch.hear(RtpSource("192.0.2.9", number, number), number, 0.0, sound=True)
        if number % 20 == 0:
            latch.hear(A, number // 20, 0.0, sound=True)
        assert len(latch._candidates) <= MOST_CANDIDATES
    assert latch.caller == A
