"""EventFormatter of the log: one event each, whatever a peer calls itself."""

from __future__ import annotations

import logging
import re

from rtsr.bridge.log import EventFormatter, log, log_event


def line_of(caplog, event: str = "joined", **values: object) -> str:
    with caplog.at_level(logging.INFO, logger=log.name):
        log_event(event, **values)
    return EventFormatter().format(caplog.records[-1])


def test_an_event_is_one_line_of_keys_and_values(caplog):
    line = line_of(caplog, call="1-a", room="desk", why="hung up")
    assert re.fullmatch(r'\S+T\S+ event=joined call=1-a room=desk why="hung up"', line)


def test_an_event_of_two_words_is_one_value(caplog):
    assert line_of(caplog, "rtp lost", call="1-a").endswith('event="rtp lost" call=1-a')


def test_nobody_writes_lines_of_their_own(caplog):
    line = line_of(caplog, name='x"\nevent=ended call=2 \x1b[31m')
    assert "\n" not in line
    assert "\x1b" not in line
    assert line.count('"') == 2


def test_others_warnings_are_lines_too(caplog):
    logging.getLogger("aiortc").warning("two\nlines")
    line = EventFormatter().format(caplog.records[-1])
    assert line.endswith("event=warning msg=two\\nlines")
