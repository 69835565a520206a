"""Which worker carries which room: placement, admission over the whole fleet, drain, and workers that die."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsr.errors import PoolFull, UnknownName
from rtsr.fleet.placement import EXPECTED_S, Fleet, Report, Worker


def make(*limits: int) -> Fleet:
    fleet = Fleet()
    for number, limit in enumerate(limits):
        name = "abcdef"[number]
        fleet.workers[name] = Worker(name, f"node-{name}", f"http://{name}", limit)
    return fleet


def join(fleet: Fleet, room: str) -> str:
    """Let a call in, as the gateway does; returns its worker's name."""
    worker = fleet.place(room)
    with fleet.arriving(worker, room):
        pass
    fleet.arrived(worker, room)
    return worker.name


def tell(fleet: Fleet, name: str, rooms: dict[str, int], full: bool = False) -> None:
    """Let a worker report, of now."""
    worker = fleet.worker(name)
    fleet.report(name, Report(rooms, worker.limit, full, worker.changes))


def test_rooms_of_two_are_spread_evenly_and_each_is_on_one_worker():
    fleet = make(16, 16, 16)
    homes = [join(fleet, f"room-{number // 2}") for number in range(24)]
    assert homes[::2] == homes[1::2]
    assert {name: homes.count(name) for name in "abc"} == {"a": 8, "b": 8, "c": 8}


@given(st.lists(st.integers(0, 11), max_size=60), st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_no_worker_gets_more_than_fits_where_rooms_have_one_call_and_no_room_is_on_two(rooms, limits):
    fleet, homes = make(*limits), {}
    for room in map(str, dict.fromkeys(rooms)):
        if fleet.calls >= sum(limits):
            with pytest.raises(PoolFull):
                fleet.place(room)
            continue
        homes[room] = join(fleet, room)
    assert all(one.calls <= one.limit for one in fleet.workers.values())
    assert {room: fleet.place(room).name for room in homes} == homes


def test_calls_that_arrive_at_the_same_time_are_counted():
    fleet = make(4, 4)
    first = fleet.place("one")
    with fleet.arriving(first, "one"):
        assert fleet.place("two") is not first
        assert fleet.place("one") is first


def test_a_full_fleet_refuses_new_rooms_and_says_so():
    fleet = make(1, 1)
    join(fleet, "one")
    join(fleet, "two")
    with pytest.raises(PoolFull, match="all 2 calls that the fleet carries"):
        fleet.place("three")
    assert fleet.refused == 1
    assert fleet.place("one").rooms == {"one": 1}, "a room that is there stays; its worker says whether one more fits"


def test_a_worker_that_is_busy_gets_no_new_room():
    fleet = make(16, 4)
    tell(fleet, "a", {}, full=True)
    assert fleet.place("one").name == "b"
    tell(fleet, "a", {})
    assert fleet.place("two").name == "a"


def test_a_room_that_a_worker_refuses_goes_elsewhere_unless_somebody_is_in_it():
    fleet = make(16, 4)
    refused = fleet.place("one")
    assert fleet.misplaced(refused, "one")
    assert fleet.place("one").name == "b"
    join(fleet, "one")
    assert not fleet.misplaced(fleet.worker("b"), "one")


def test_rooms_that_ended_are_forgotten_and_those_of_an_earlier_gateway_are_found():
    fleet = make(16, 16)
    assert join(fleet, "ended") == "b"
    tell(fleet, "b", {})
    tell(fleet, "a", {"found": 2})
    assert fleet.homes == {"found": "a"}
    assert fleet.place("found").name == "a"


def test_a_report_from_before_a_call_does_not_make_it_forgotten():
    fleet = make(16)
    worker = fleet.worker("a")
    asked = worker.changes
    join(fleet, "new")
    fleet.report("a", Report({}, 16, False, asked))
    assert fleet.homes == {"new": "a"}
    assert worker.calls == 1
    with fleet.arriving(worker, "coming"):
        fleet.homes["coming"] = "a"
        fleet.report("a", Report({"new": 1}, 16, False, worker.changes))
        assert set(fleet.homes) == {"new", "coming"}


def test_the_rooms_of_a_worker_that_died_are_placed_anew_and_no_other_moves():
    fleet = make(8, 8, 8)
    homes = {f"room-{number}": join(fleet, f"room-{number}") for number in range(12)}
    lost = fleet.gone("a")
    assert sorted(lost) == sorted(room for room, home in homes.items() if home == "a")
    assert (fleet.lost, fleet.worker("a").free, fleet.worker("a").calls) == (1, 0, 0)
    again = {room: join(fleet, room) for room in lost}
    assert set(again.values()) == {"b", "c"}
    assert all(fleet.place(room).name == home for room, home in homes.items() if home != "a")
    assert not fleet.gone("a")
    assert fleet.lost == 1, "it died once"


def test_drain_takes_no_new_room_and_moves_those_there_are_once_they_are_due():
    fleet = make(8, 8)
    rooms = ["one", "two", "three", "four"]
    for room in rooms:
        join(fleet, room)
    fleet.drain(["a"], 100.0)
    here = [room for room in rooms if fleet.homes[room] == "a"]
    assert fleet.place("new").name == "b"
    assert fleet.place(here[0]).name == "a", "who joins a room that is there joins it there"
    assert fleet.due(99.0) == []
    assert sorted(room for room, _ in fleet.due(100.0)) == sorted(here)
    for room, worker in fleet.due(100.0):
        assert worker.name == "a"
        assert fleet.move(room, 100.0).name == "b"
    assert fleet.due(100.5) == [], "the old worker still reports its calls, but they are on their way"
    assert fleet.moved == len(here)
    fleet.drain(["a"], None)
    assert fleet.worker("a").takes_rooms


def test_a_room_that_moves_keeps_its_places_until_its_clients_have_called_again_or_do_not():
    fleet = make(8, 3, 3)
    for _ in range(3):
        join(fleet, "three")
    assert fleet.homes["three"] == "a"
    fleet.drain(["a"], 0.0)
    new = fleet.move("three", 10.0)
    assert (new.calls, new.free) == (3, 0)
    assert fleet.place("other") is not new
    assert join(fleet, "three") == new.name
    assert new.calls == 3
    tell(fleet, new.name, {"three": 1})
    assert new.calls == 3
    fleet.due(10.0 + EXPECTED_S)
    assert new.calls == 1


def test_a_room_that_fits_nowhere_stays_where_it_is():
    fleet = make(8, 1)
    join(fleet, "two")
    join(fleet, "two")
    fleet.drain(["a"], 0.0)
    assert fleet.move("two", 0.0) is None
    assert fleet.place("two").name == "a"


def test_names_that_there_are_not():
    fleet = make(1)
    with pytest.raises(UnknownName, match="There are: a"):
        fleet.drain(["x"], 0.0)
    with pytest.raises(UnknownName, match="node-a"):
        fleet.of_node("x")
    assert fleet.of_node("node-a") == ["a"]


def test_a_worker_that_is_forgotten_leaves_nothing():
    fleet = make(4)
    join(fleet, "one")
    fleet.forget("a")
    assert (fleet.workers, fleet.homes) == ({}, {})
    with pytest.raises(PoolFull):
        fleet.place("one")


@pytest.mark.parametrize(("calls", "wanted"), [(0, 8), (16, 24), (100, 125)])
def test_voices_are_wanted_for_the_calls_there_are_and_some_more(calls, wanted):
    fleet = make(1_000)
    for number in range(calls):
        join(fleet, str(number))
    assert fleet.wanted(0.25, 8) == wanted
