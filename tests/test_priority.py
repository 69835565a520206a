"""Asking for real-time scheduling never fails, whatever the limits of the process are."""

from __future__ import annotations

import os
import resource

import pytest

from rtsr.daemon.priority import ask_for_real_time


def refuse(*_: object) -> None:
    raise PermissionError


def test_a_limit_that_is_below_what_rtkit_wants_is_a_line(monkeypatch: pytest.MonkeyPatch):
    """Nobody but root raises a hard limit."""

    def set_limit(_: int, limits: tuple[int, int]) -> None:
        if limits[1] > 100_000:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100_000, 100_000))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    said = ask_for_real_time()
    assert "refused" in said
    assert "100000" in said
