"""The jitter buffer alone: which packet is next, what is counted, and what the spread of transit times is."""

from __future__ import annotations

from dataclasses import asdict
from math import inf

import pytest

from rtsr.bridge.jitter import ROOM, SPAN_S, Extremes, JitterBuffer, Packet, unwrap

RATE, STEP = 8000, 160


def packet(number: int, *, late_s: float = 0.0, stamp: int | None = None, payload: bytes = b"x") -> Packet:
    """The packet of this number, 20 ms after the one before; both counters are those of the wire."""
    whole = number * STEP if stamp is None else stamp
    return Packet(number % 65_536, whole % 2**32, payload, 100 + number * STEP / RATE + late_s)


@pytest.fixture
def buffer() -> JitterBuffer:
    return JitterBuffer(RATE)


def numbers(buffer: JitterBuffer) -> list[int]:
    """Take all that is in turn."""
    found = []
    while (one := buffer.take()) is not None:
        found.append(one.number)
    return found


@pytest.mark.parametrize(
    ("value", "near", "whole"),
    [(5, 3, 5), (1, 65_535, 65_537), (65_535, 65_536, 65_535), (32_767, 0, 32_767), (32_768, 0, -32_768), (0, 0, 0)],
)
def test_a_counter_is_unwrapped_to_the_nearest_number(value, near, whole):
    assert unwrap(value, near, 65_536) == whole


def test_packets_are_taken_by_number_in_whatever_order_they_came(buffer):
    for number in (10, 12, 11, 13):
        buffer.put(packet(number))
    assert len(buffer) == 4
    assert buffer.peek().number == 10
    assert numbers(buffer) == [10, 11, 12, 13]
    assert len(buffer) == 0
    assert buffer.peek() is None
    assert asdict(buffer.counts) == dict.fromkeys(asdict(buffer.counts), 0) | {"received": 4}


def test_what_was_put_is_what_is_taken_with_counters_that_go_on_rising(buffer):
    first = 65_535
    for number in (first, first + 1):
        buffer.put(packet(number, stamp=2**32 - STEP + (number - first) * STEP, payload=bytes([number - first])))
    one, two = buffer.take(), buffer.take()
    assert (one.number, one.stamp, one.payload) == (65_535, 2**32 - STEP, b"\x00")
    assert (two.number, two.stamp, two.payload) == (65_536, 2**32, b"\x01")
    assert two.arrived_s == packet(first + 1).arrived_s
    assert not buffer.restarted


def test_one_that_comes_twice_or_after_its_turn_is_late(buffer):
    buffer.put(packet(1))
    buffer.put(packet(1))
    assert (buffer.counts.late, len(buffer)) == (1, 1)
    assert numbers(buffer) == [1]
    buffer.put(packet(1))
    assert (buffer.counts.late, len(buffer)) == (2, 0)
    buffer.put(packet(2))
    assert numbers(buffer) == [2]


def test_a_gap_is_waited_for_and_given_up_one_by_one_or_at_once(buffer):
    for number in (1, 3, 6):
        buffer.put(packet(number))
    assert numbers(buffer) == [1]
    buffer.skip()
    assert buffer.counts.lost == 1
    assert numbers(buffer) == [3]
    buffer.skip_to_first()
    assert buffer.counts.lost == 3
    assert numbers(buffer) == [6]
    buffer.skip_to_first()  # nothing is there
    assert buffer.counts.lost == 3


def test_packets_without_sound_are_passed_and_describe_the_noise_until_sound_is_taken(buffer):
    for number in (1, 2, 3, 5):
        buffer.put(
            packet(number, payload=b"x" if number in (1, 5) else b"")._replace(noise=b"n" if number == 2 else b"")
        )
    assert buffer.take().number == 1
    assert (len(buffer), buffer.next_is_there, buffer.peek().number, buffer.noise) == (1, False, 5, b"n")
    buffer.put(packet(4))
    assert (buffer.next_is_there, numbers(buffer), buffer.noise) == (True, [4, 5], b"")
    assert (buffer.counts.lost, buffer.counts.late) == (0, 0)


def test_nothing_is_lost_before_the_first_packet(buffer):
    buffer.skip()
    buffer.skip_to_first()
    assert buffer.take() is None
    assert buffer.counts.lost == 0


@pytest.mark.parametrize(("ahead", "restarts"), [(ROOM - 1, 0), (ROOM, 1), (-ROOM + 1, 0), (-ROOM - 1, 1)])
def test_a_number_beyond_the_room_is_a_new_beginning(buffer, ahead, restarts):
    buffer.put(packet(1000))
    for number in (1000 + ahead, 1001 + ahead):  # one alone may be a stray
        assert buffer.counts.restarts == 0
        buffer.put(packet(number, stamp=(number - ahead) * STEP, late_s=-ahead * STEP / RATE))
    assert buffer.counts.restarts == restarts
    assert buffer.counts.refused == restarts  # the one that waited
    assert buffer.restarted == bool(restarts)
    assert buffer.peek().number == (1000 + ahead if restarts else 1000)


@pytest.mark.parametrize(("leap_s", "restarts"), [(0.99, 0), (1.01, 1), (-0.99, 0), (-1.01, 1)])
def test_a_time_stamp_that_leaps_by_more_than_a_second_is_a_new_beginning(buffer, leap_s, restarts):
    buffer.put(packet(1000))
    for number in (1001, 1002):  # one alone may be a stray
        assert buffer.counts.restarts == 0
        buffer.put(packet(number, stamp=number * STEP + round(leap_s * RATE)))
    assert buffer.counts.restarts == restarts
    if restarts:  # what was known of transit times was another clock's
        assert buffer.spread_s == 0
        assert buffer.take().stamp == 1001 * STEP + round(leap_s * RATE)
    else:
        assert buffer.spread_s == pytest.approx(abs(leap_s))


def test_a_new_beginning_is_counted_each_time_and_starts_with_its_own_clock(buffer):
    for begin in (1000, 5000, 9000):
        for number in (begin, begin + 1):
            buffer.put(packet(number, stamp=2 * begin * RATE + number * STEP))
    assert (buffer.counts.restarts, buffer.counts.refused, buffer.counts.lost) == (2, 4, 0)
    assert buffer.floor_s == pytest.approx(100 - 2 * 9000)
    assert buffer.spread_s == pytest.approx(0)
    assert numbers(buffer) == [9000, 9001]


def test_every_packet_that_is_given_up_is_counted(buffer):
    buffer.put(packet(1))
    assert numbers(buffer) == [1]
    for lost in (1, 2, 3):
        buffer.skip()
        assert buffer.counts.lost == lost


def test_the_spread_is_between_the_fastest_and_the_slowest(buffer):
    assert buffer.spread_s == 0
    assert buffer.floor_s == inf
    for number, late_s in enumerate([0.01, 0.04, 0.0, 0.02]):
        buffer.put(packet(number, late_s=late_s))
    assert buffer.spread_s == pytest.approx(0.04)
    assert buffer.floor_s == pytest.approx(100)


def test_extremes_are_those_of_the_last_one_to_two_spans():
    extremes = Extremes()
    assert (extremes.least, extremes.most) == (inf, -inf)
    extremes.see(-5, 0)
    extremes.see(1, 0.9 * SPAN_S)
    extremes.see(2, SPAN_S)
    assert (extremes.least, extremes.most) == (-5, 2)
    extremes.see(3, 1.1 * SPAN_S)  # the second span
    extremes.see(4, 2.0 * SPAN_S)
    assert (extremes.least, extremes.most) == (-5, 4)
    extremes.see(3.5, 2.2 * SPAN_S)  # the third: the first is forgotten
    assert (extremes.least, extremes.most) == (3, 4)
    extremes.see(9, 5 * SPAN_S)  # after a pause all is
    assert (extremes.least, extremes.most) == (9, 9)
