"""The report of a call: the E-model's figures, what is null, the line of JSON, and the webhook."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from aiohttp import web

from rtsr.bridge.call import History
from rtsr.bridge.codec import CODECS
from rtsr.bridge.config import BridgeSettings
from rtsr.bridge.emodel import delay_impairment, loss_impairment, mos, transport_mos
from rtsr.bridge.leg import Speaker
from rtsr.bridge.log import EventFormatter
from rtsr.bridge.report import report_of
from rtsr.bridge.webhook import MOST_WAITING, Webhook
from rtsr.errors import InvalidSetting
from tests.bridge.test_rtp_on_demand import Bench, Phone, on_a_bench

pytestmark = pytest.mark.realtime


@pytest.mark.parametrize(
    ("rating", "score"), [(90, 4.34), (80, 4.02), (70, 3.60), (60, 3.10), (50, 2.58), (-5, 1), (120, 4.5)]
)
def test_scores_are_those_of_g_107_annex_b(rating, score):
    assert mos(rating) == pytest.approx(score, abs=0.005)


def test_delay_and_loss_cost_what_g_107_says():
    assert delay_impairment(100) == 0
    assert delay_impairment(200) == pytest.approx(25 * (2 ** (1 / 6) - 3 * (1 + 3**-6) ** (1 / 6) + 2))
    assert delay_impairment(200) == pytest.approx(3.04, abs=0.01)
    assert loss_impairment(0, 25.1, 0) == 0
    assert loss_impairment(0, 25.1, 0.251) == pytest.approx(95 / 2)
    assert transport_mos(CODECS["pcmu"].e_model, 0.0, 50.0) == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(
    ("codec", "loss", "way_ms"), [("opus", 0.0, 50.0), ("g722", 0.0, 50.0), ("pcmu", None, 50.0), ("pcmu", 0.0, None)]
)
def test_what_was_not_measured_has_no_score(codec, loss, way_ms):
    assert transport_mos(CODECS[codec].e_model, loss, way_ms) is None


def test_the_time_for_which_a_voice_was_enhanced_is_counted():
    speaker = Speaker("pcmu", 200, least_s=0.01)
    speaker.playout.waiting = False
    speaker.note_cutoff(3_400, 7_000, 0.5)
    speaker.note_cutoff(8_000, 7_000, 0.5)
    speaker.bypass = True
    speaker.note_cutoff(3_400, 7_000, 0.5)
    assert (speaker.cutoff_hz, speaker.enhanced_s) == (3_400, 0.5)


def test_a_history_has_means_and_maxima():
    speaker, history = Speaker("pcmu", 200, least_s=0.01), History()
    history.sample(speaker)
    assert history.samples == 0, "nobody has been heard"
    speaker.playout.waiting = False
    for delay_s in (0.01, 0.03):
        speaker.playout.delay_s = delay_s
        history.sample(speaker)
    assert (history.delay_ms, history.most_delay_ms) == (pytest.approx(40), 30)


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://", "/path", "http://[::1"])
def test_a_webhook_is_a_url(url):
    with pytest.raises(InvalidSetting, match="report_url"):
        BridgeSettings(report_url=url)


def test_a_call_that_ends_is_one_line_of_json(null, caplog):
    async def test(bench: Bench) -> None:
        call, answer = await bench.open(name='a "name"\n')
        phone = await Phone.call(answer["port"])
        await phone.say(3)
        assert report_of(call)["ended"] is None
        bench.calls.end(call.id, "hung up")
        await phone.close()

    with caplog.at_level(logging.INFO, "rtsr.bridge"):
        on_a_bench(null, test)
    (line,) = [text for text in map(EventFormatter().format, caplog.records) if text.startswith("{")]
    report = json.loads(line)
    assert "\n" not in line
    assert (report["ended"], report["name"], report["kind"]) == ("hung up", 'a "name"\n', "rtp")
    assert report["mos"] is report["round_trip_ms"] is report["cutoff_hz"] is None
    assert report["codec_in"] == report["codec_out"] == "pcmu"


class Receiver:
    """A web server that keeps what is posted, and answers as told."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.came = list(statuses), []

    async def take(self, request: web.Request) -> web.Response:
        self.came.append(await request.json())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def __aenter__(self) -> Receiver:
        app = web.Application()
        app.router.add_post("/reports", self.take)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/reports"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()


def test_a_webhook_gets_the_report_of_a_call(null):
    async def run() -> None:
        async with Receiver() as receiver:
            bench = Bench(null, report_url=receiver.url)
            call, _ = await bench.open()
            bench.calls.end(call.id, "hung up")
            await bench.calls.drain(0)
            bench.media.stop()
            assert [report["call"] for report in receiver.came] == [call.id]
            assert bench.calls.webhook.delivered == 1

    asyncio.run(run())


def test_a_webhook_that_fails_is_tried_again_and_one_that_refuses_is_not(monkeypatch):
    monkeypatch.setattr("rtsr.bridge.webhook.PAUSE_S", 0.01)

    async def run() -> None:
        async with Receiver(500, 200, 404, 302, 500, 500, 500) as receiver:
            hook = Webhook(receiver.url)
            for number in range(4):
                hook.put({"call": number})
            await hook.close(10)
            assert [report["call"] for report in receiver.came] == [0, 0, 1, 2, 3, 3, 3]
            assert (hook.delivered, hook.failed) == (1, 3)

    asyncio.run(run())


def test_a_webhook_that_nobody_serves_keeps_few_reports_and_lets_the_bridge_end():
    async def run() -> None:
        hook = Webhook("http://127.0.0.1:9/")
        for number in range(2 * MOST_WAITING):
            hook.put({"call": number})
        assert len(hook._waiting) == MOST_WAITING
        await asyncio.wait_for(hook.close(0.1), 5)

    asyncio.run(run())
