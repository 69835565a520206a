"""SIP through the gateway to lines of bridges, with a telephone that sends what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rtsr.bridge.sip import transactions
from rtsr.bridge.sip.message import Request, Response, answer, parse
from rtsr.bridge.sip.outgoing import dial
from rtsr.errors import CallRefused
from rtsr.fleet import sip_proxy
from rtsr.fleet.sip_routes import NEW, TELEPHONE, Routes, Way
from tests.bridge.sip_phone import SDP, TURN_S, Bench, Phone
from tests.fleet.proxied import HOST, KEY, Proxied

pytestmark = pytest.mark.realtime


@pytest.fixture
def proxied(null, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a test with a proxy whose timers, and those of the bridges, are ten times as fast."""
    for name in ("T1", "T2", "T4", "LONGEST_S"):
        monkeypatch.setattr(transactions, name, getattr(transactions, name) / 10)
    monkeypatch.setattr(sip_proxy, "LOOK_S", TURN_S)

    def run(test: Callable[[Proxied, Phone], Awaitable[None]], **settings: Any) -> None:
        async def whole() -> None:
            one = Proxied(null, **settings)
            try:
                await one.open()
                await test(one, await Phone(one.port).open())
                await one.settled()
            finally:
                await one.close()
                while Phone.opened:
                    Phone.opened.pop().transport.close()
                await asyncio.sleep(TURN_S)

        asyncio.run(whole())

    return run


def test_a_call_is_answered_acknowledged_changed_and_hung_up_by_either_end(proxied):
    async def test(one: Proxied, phone: Phone) -> None:
        phone.send("INVITE", SDP)
        assert (await phone.wait(100)).via.port == phone.own
        answer = await phone.wait(200)
        assert len(answer.all("via")) == 1, "ours is taken off"
        phone.enter(answer)
        phone.send("ACK", number=1)
        (bench,) = [bench for bench in one.benches.values() if bench.calls.by_id]
        await asyncio.sleep(4 * transactions.T1)
        phone.came.clear()
        await asyncio.sleep(2 * transactions.T2)
        assert not phone.came, "its ACK has come"
        phone.send("INVITE", SDP.replace("a=", "") + "a=inactive\r\n")
        assert b"a=inactive" in (await phone.wait(200)).body
        phone.send("ACK", number=2)
        next(iter(bench.line.by_dialog.values())).hang_up()
        bye = await phone.wait("BYE")
        assert bye.recipient.tag == "a"
        phone.answer(bye, 200)
        await one.settled()
        assert not bench.line.transactions.client or await no_client(bench), "its BYE was answered"
        again = await Phone(one.port).open()
        await again.call()
        again.send("BYE")
        await again.wait(200)

    proxied(test)


async def no_client(bench: Bench) -> bool:
    async with asyncio.timeout(2 * transactions.T4 + 1):
        while bench.line.transactions.client:
            await asyncio.sleep(TURN_S)
    return True


def test_calls_of_a_room_are_on_one_worker_and_rooms_are_spread(proxied):
    async def test(one: Proxied, phone: Phone) -> None:
        phones = [await Phone(one.port).open() for _ in range(3)]
        for number, room in zip(phones, ("one", "two", "one"), strict=True):
            number.send = lambda *given, _room=room, _phone=number, **more: _phone.transport.sendto(
                _phone.message(*given, **more).replace(b"sip:desk@", f"sip:{_room}@".encode())
            )
            await number.call()
        rooms = sorted(sorted(leg.leg.room for leg in bench.calls.by_id.values()) for bench in one.benches.values())
        assert rooms == [["one", "one"], ["two"]]
        assert one.fleet.workers[one.fleet.homes["one"]].rooms["one"] == 2
        for number in phones:
            number.send("BYE")
            await number.wait(200)

    proxied(test)


def test_a_worker_that_is_gone_or_full_is_passed_over(proxied):
    async def test(one: Proxied, phone: Phone) -> None:
        first, second = one.fleet.workers["b"], one.fleet.workers["a"]
        second.limit = 3  # so that the other is asked first
        place, first.sip = first.sip, {"sip": 9}  # nobody listens there
        phone.send("INVITE", SDP)
        await asyncio.sleep(0.1)
        first.url = ""  # the watch has found it gone
        phone.enter(await phone.wait(200))
        phone.send("ACK", number=1)
        assert one.lost == ["b"]
        phone.send("BYE")
        await phone.wait(200)
        first.url, first.sip, first.limit = second.url, place, 9
        one.fleet.homes.clear()
        second.rooms.clear()
        one.benches["b"].calls.draining = True
        other = await Phone(one.port).open()
        await other.call()
        assert one.benches["a"].calls.by_id
        other.send("BYE")
        await other.wait(200)

    proxied(test)


def test_without_room_callers_are_told_to_come_again(proxied):
    async def test(one: Proxied, phone: Phone) -> None:
        phone.send("OPTIONS")
        await phone.wait(200)
        for worker in one.fleet.workers.values():
            worker.url = ""
        phone.send("INVITE", SDP)
        assert (await phone.wait(503)).get("retry-after") == "10"
        assert one.fleet.refused == 1
        phone.send("ACK", number=phone.number)
        phone.send("OPTIONS")
        await phone.wait(503)

    proxied(test)


@pytest.mark.parametrize(
    ("method", "more", "status"),
    [
        ("INVITE", "Max-Forwards: 0", 483),
        ("INVITE", "Max-Forwards: many", 400),
        ("INVITE", "Authorization: Basic", 401),
        ("REGISTER", "", 405),
        ("BYE", "", 481),
        ("BYE", f"Route: <{Routes(b'another').uri(Way(TELEPHONE, 'a'), (HOST, 9), 'udp')}>", 481),
        ("BYE", f"Route: <{Routes(KEY).uri(Way(TELEPHONE, 'gone'), (HOST, 9), 'udp')}>", 481),
        ("INVITE", f"Route: <{Routes(b'another').uri(Way(NEW, 'a'), (HOST, 9), 'udp')}>", 401),
        ("INVITE", f"Route: <{Routes(KEY).uri(Way(TELEPHONE, 'a'), (HOST, 9), 'udp')}>", 401),
        ("CANCEL", "", 481),
    ],
)
def test_what_may_not_go_on_is_refused(proxied, method, more, status):
    async def test(one: Proxied, phone: Phone) -> None:
        phone.send(method, SDP if method == "INVITE" else "", more)
        await phone.wait(status)
        assert not one.proxy.line.transactions.client

    proxied(test, accounts={"alice": "secret"})


def test_a_number_without_a_room_is_not_found(proxied):
    async def test(one: Proxied, phone: Phone) -> None:
        phone.send("INVITE", SDP)
        await phone.wait(404)

    proxied(test, rooms={"7": "seven"})


def test_a_worker_calls_a_telephone_through_the_gateway(proxied):
    async def test(one: Proxied, phone: Phone) -> None:
        line = one.benches["a"].line
        calling = asyncio.ensure_future(dial(line, "desk", f"sip:bob@{HOST}:{phone.own}", "Bob"))
        invite = await phone.wait("INVITE")
        assert len(invite.all("via")) == 2
        assert not invite.all("route")
        phone.answer(invite, 180)
        phone.answer(invite, 200, SDP)
        call = await calling
        ack = await phone.wait("ACK")
        assert ack.sequence[0] == invite.sequence[0]
        assert call.leg.name == "Bob"
        bye = phone.message("BYE", number=1).decode().replace("tag=a", f"tag=p{phone.own}")
        bye = bye.replace(f"call-{phone.own}", invite.call_id)
        bye = bye.replace("To: <sip:desk", f"To: <sip:x@x>;tag={invite.sender.tag}\r\nX: <")
        route = "".join(f"Route: {value}\r\n" for value in invite.all("record-route"))
        phone.transport.sendto(bye.replace("Call-ID:", route + "Call-ID:").encode())
        await phone.wait(200)

    proxied(test, sources=("127.0.0.0/8",))


def test_calls_go_out_by_way_of_a_proxy_before_the_gateway(proxied):
    async def test(one: Proxied, phone: Phone) -> None:
        before = f"sip:{HOST}:{phone.own};lr"
        object.__setattr__(one.proxy.line.settings, "outbound_proxy", before)  # its port is known only now
        calling = asyncio.ensure_future(dial(one.benches["a"].line, "desk", "sip:bob@192.0.2.9", ""))
        invite = await phone.wait("INVITE")
        assert (invite.all("route"), invite.uri.host) == ([f"<{before}>"], "192.0.2.9")
        phone.answer(invite, 486)
        with pytest.raises(CallRefused, match="486"):
            await calling

    proxied(test, sources=("192.0.2.0/24", "127.0.0.0/8"))


def test_a_call_of_a_worker_that_nobody_answers_is_cancelled(proxied):
    async def test(one: Proxied, phone: Phone) -> None:
        line = one.benches["a"].line
        calling = asyncio.ensure_future(dial(line, "desk", f"sip:bob@{HOST}:{phone.own}", ""))
        invite = await phone.wait("INVITE")
        phone.answer(invite, 180)
        cancel = await phone.wait("CANCEL")
        assert cancel.via.branch == invite.via.branch
        phone.answer(cancel, 200)
        phone.answer(invite, 487)
        await phone.wait("ACK")
        with pytest.raises(CallRefused, match="nobody answered"):
            await calling

    proxied(test, sources=("127.0.0.0/8",), ring_s=1.0)


def test_the_gateway_registers_where_it_is_told_to_and_leaves(null):
    """The registrar's calls need no password, those of others do."""
    came: list[Request] = []

    class Registrar(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, place: tuple[str, int]) -> None:
            came.append(parse(data))
            self.transport.sendto(answer(came[-1], 200, [("expires", "60")], tag="r").write(), place)

    async def whole() -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Registrar, local_addr=(HOST, 0))
        server = f"sip:{HOST}:{transport.get_extra_info('sockname')[1]}"
        one = Proxied(null, server=server, register=True, username="room", accounts={"alice": "secret"})
        await one.open()
        phone = await Phone(one.port).open()
        await phone.call()
        phone.send("BYE")
        await phone.wait(200)
        await one.settled()
        await one.close()
        phone.transport.close()
        assert [(one.method, one.get("expires")) for one in came] == [("REGISTER", "300"), ("REGISTER", "0")]
        assert came[0].contact.uri.port == one.port
        transport.close()

    asyncio.run(whole())


def test_a_caller_that_gives_up_too_late_has_a_call_and_hangs_up(proxied):
    """A worker answers at once, so its 200 is on the way when CANCEL comes (RFC 3261, section 9.1)."""

    async def test(one: Proxied, phone: Phone) -> None:
        phone.send("INVITE", SDP)
        phone.send("CANCEL", number=1, branch="INVITE1")
        answers: dict[str, Response] = {}
        while set(answers) != {"CANCEL", "INVITE"}:
            came = await phone.wait(200)
            answers[came.sequence[1]] = came
        phone.enter(answers["INVITE"])
        phone.send("ACK", number=1)
        phone.send("BYE")
        while (await phone.wait(200)).sequence[1] != "BYE":
            pass  # the 200 of INVITE again, sent before its ACK came

    proxied(test)
